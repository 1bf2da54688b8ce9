# Installing: both libraries, headers, tools, a CMake package (vlmoe::vlmoe, vlmoe::vlmoe_static) and vlmoe.pc.
include(CMakePackageConfigHelpers)

install(TARGETS vlmoe vlmoe_static EXPORT vlmoeTargets
  LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR}
  ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR})
install(DIRECTORY include/vlmoe DESTINATION ${CMAKE_INSTALL_INCLUDEDIR} FILES_MATCHING PATTERN "*.h")
if(VLMOE_TOOLS)
  install(TARGETS ${VLMOE_TOOLS} RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
endif()

set(VLMOE_CMAKE_DIR ${CMAKE_INSTALL_LIBDIR}/cmake/vlmoe)
install(EXPORT vlmoeTargets NAMESPACE vlmoe:: DESTINATION ${VLMOE_CMAKE_DIR})
configure_package_config_file(cmake/vlmoeConfig.cmake.in vlmoeConfig.cmake INSTALL_DESTINATION ${VLMOE_CMAKE_DIR})
# Before 1.0 a minor version may change the interface.
write_basic_package_version_file(vlmoeConfigVersion.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${CMAKE_CURRENT_BINARY_DIR}/vlmoeConfig.cmake ${CMAKE_CURRENT_BINARY_DIR}/vlmoeConfigVersion.cmake
  DESTINATION ${VLMOE_CMAKE_DIR})

list(TRANSFORM VLMOE_LINK_NAMES PREPEND -l REGEX "^[^/]" OUTPUT_VARIABLE VLMOE_PC_PRIVATE)
list(JOIN VLMOE_PC_PRIVATE " " VLMOE_PC_PRIVATE)
file(RELATIVE_PATH VLMOE_PC_TO_PREFIX /${CMAKE_INSTALL_LIBDIR}/pkgconfig /)
configure_file(cmake/vlmoe.pc.in vlmoe.pc @ONLY)
install(FILES ${CMAKE_CURRENT_BINARY_DIR}/vlmoe.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig)
