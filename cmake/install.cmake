# What `cmake --install` gives: the public headers, both libraries, the program, and the files by which
# CMake (find_package(hebb)) and pkg-config find them. The prefix may be moved afterwards.
include(GNUInstallDirs)
include(CMakePackageConfigHelpers)

set(hebb_cmake_dir ${CMAKE_INSTALL_LIBDIR}/cmake/hebb)

# Public are hebb/hebb.h and what it includes: found when installing, so that no list goes stale.
install(CODE "set(SOURCE_DIR \"${PROJECT_SOURCE_DIR}\")\nset(INCLUDE_DIR \"${CMAKE_INSTALL_INCLUDEDIR}\")")
install(SCRIPT ${CMAKE_CURRENT_LIST_DIR}/install_headers.cmake)

foreach(kind static shared)
  install(TARGETS hebb_${kind} EXPORT hebb_${kind}
    ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR}
    LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR})
  install(EXPORT hebb_${kind} NAMESPACE hebb:: FILE hebb-${kind}.cmake DESTINATION ${hebb_cmake_dir})
endforeach()
if(TARGET hebb_cli)
  install(TARGETS hebb_cli RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
endif()

configure_package_config_file(
  ${CMAKE_CURRENT_LIST_DIR}/hebb-config.cmake.in ${PROJECT_BINARY_DIR}/generated/hebb-config.cmake
  INSTALL_DESTINATION ${hebb_cmake_dir})
write_basic_package_version_file(
  ${PROJECT_BINARY_DIR}/generated/hebb-config-version.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${PROJECT_BINARY_DIR}/generated/hebb-config.cmake
              ${PROJECT_BINARY_DIR}/generated/hebb-config-version.cmake
        DESTINATION ${hebb_cmake_dir})

file(RELATIVE_PATH pc_to_prefix /${CMAKE_INSTALL_LIBDIR}/pkgconfig /)
configure_file(${CMAKE_CURRENT_LIST_DIR}/hebb.pc.in ${PROJECT_BINARY_DIR}/generated/hebb.pc @ONLY)
install(FILES ${PROJECT_BINARY_DIR}/generated/hebb.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig)
install(FILES ${PROJECT_SOURCE_DIR}/LICENSE DESTINATION ${CMAKE_INSTALL_DOCDIR})
