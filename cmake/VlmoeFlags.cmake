# Warnings, sanitizers, and the rules of arithmetic: no -ffast-math anywhere, and no silent fusing of a*b+c, so that a kernel's
# numbers are those its source says (kernels that want FMA ask for it).
add_library(vlmoe_flags INTERFACE)
target_compile_options(vlmoe_flags INTERFACE
  -Wall -Wextra -Wpointer-arith -Wshadow -Wvla -Wno-missing-field-initializers -ffp-contract=off -fno-math-errno
  $<$<COMPILE_LANGUAGE:C>:-Wstrict-prototypes -Wmissing-prototypes -Wold-style-definition>)
if(VLMOE_WERROR)
  target_compile_options(vlmoe_flags INTERFACE -Werror)
endif()
if(VLMOE_SANITIZE)
  target_compile_options(vlmoe_flags INTERFACE -fsanitize=${VLMOE_SANITIZE} -fno-omit-frame-pointer -fno-sanitize-recover=all)
  target_link_options(vlmoe_flags INTERFACE -fsanitize=${VLMOE_SANITIZE})
  target_compile_definitions(vlmoe_flags INTERFACE VLM_CHECKS=1)
endif()
if(CMAKE_BUILD_TYPE STREQUAL "Debug")
  target_compile_definitions(vlmoe_flags INTERFACE VLM_CHECKS=1)
endif()
