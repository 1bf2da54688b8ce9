# Every outside library, found once. A required one that is missing is named with its Debian package; an optional one has a
# none_*.c twin that is compiled instead.
find_package(Threads REQUIRED)
find_package(PkgConfig REQUIRED)

function(vlmoe_require_pkg target module package)
  pkg_check_modules(${target} IMPORTED_TARGET GLOBAL ${module})
  if(NOT ${target}_FOUND)
    message(FATAL_ERROR "libvlmoe needs ${module}: apt-get install ${package} (or run scripts/setup.sh)")
  endif()
endfunction()

vlmoe_require_pkg(CJSON libcjson libcjson-dev)
vlmoe_require_pkg(UTF8PROC libutf8proc libutf8proc-dev)
vlmoe_require_pkg(SENTENCEPIECE sentencepiece libsentencepiece-dev)
vlmoe_require_pkg(XXHASH libxxhash libxxhash-dev)
vlmoe_require_pkg(ZLIB zlib zlib1g-dev)

# Found by hand: Debian's dnnl CMake package insists on OpenCL's development files, of which nothing here is used.
find_path(DNNL_INCLUDE_DIR NAMES dnnl.h)
find_library(DNNL_LIBRARY NAMES dnnl)
if(NOT DNNL_INCLUDE_DIR OR NOT DNNL_LIBRARY)
  message(FATAL_ERROR "libvlmoe needs oneDNN: apt-get install libdnnl-dev (or run scripts/setup.sh)")
endif()
add_library(DNNL::dnnl UNKNOWN IMPORTED GLOBAL)
set_target_properties(DNNL::dnnl PROPERTIES
  IMPORTED_LOCATION ${DNNL_LIBRARY} INTERFACE_SYSTEM_INCLUDE_DIRECTORIES ${DNNL_INCLUDE_DIR})

find_path(STB_INCLUDE_DIR NAMES stb/stb_image.h)
if(NOT STB_INCLUDE_DIR)
  message(FATAL_ERROR "libvlmoe needs stb_image.h: apt-get install libstb-dev (or run scripts/setup.sh)")
endif()

# Optional: ranks as processes. Without it ranks are threads of one process.
find_package(MPI QUIET COMPONENTS C)
option(VLMOE_WITH_MPI "Ranks as processes over MPI" ${MPI_C_FOUND})
if(VLMOE_WITH_MPI AND NOT MPI_C_FOUND)
  message(FATAL_ERROR "VLMOE_WITH_MPI needs MPI: apt-get install libopenmpi-dev openmpi-bin (or run scripts/setup.sh)")
elseif(VLMOE_WITH_MPI)
  message(STATUS "MPI: ${MPI_C_LIBRARIES}, standard ${MPI_C_VERSION}")
else()
  message(STATUS "MPI: none; ranks are threads of one process (libopenmpi-dev and openmpi-bin bring it, VLMOE_WITH_MPI takes it)")
endif()

find_package(JPEG QUIET) # optional: twice as fast as stb_image
