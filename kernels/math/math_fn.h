/* How a scalar formula is declared so that C, C++ and CUDA device code can all include it. */
#ifndef MATH_FN_H
#define MATH_FN_H

#ifdef __CUDACC__
#define MATH_FN static __host__ __device__ inline
#else
#define MATH_FN static inline
#endif

#endif
