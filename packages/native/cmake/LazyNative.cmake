# lazy_native_add_addon(target VERSION x.y.z sources...): a Node addon made of the sources and the layer.
# NODE_ADDON_API_DIR and NODE_API_HEADERS_DIR are the include folders of the npm packages of those names; the build
# script finds them by module resolution, so nothing is downloaded.

set(LAZY_NATIVE_DIR "${CMAKE_CURRENT_LIST_DIR}/..")

set(LAZY_NATIVE_SOURCES
  addon.cpp arguments.h buffers.h context.cpp context.h device.cpp failure.cpp failure.h fields.h one_thread.cpp one_thread.h
  operations.cpp pool.cpp pool.h queue.cpp queue.h session.cpp session.h storage.cpp task.h)
list(TRANSFORM LAZY_NATIVE_SOURCES PREPEND "${LAZY_NATIVE_DIR}/cpp/")

# lazy_native_hide(target): only what Node looks up is exported. Hidden visibility leaves weak operators new and delete.
function(lazy_native_hide target)
  if(CMAKE_SYSTEM_NAME STREQUAL "Linux")
    target_link_options(${target} PRIVATE "-Wl,--version-script=${LAZY_NATIVE_DIR}/cmake/addon.map")
  endif()
endfunction()

function(lazy_native_add_addon target)
  cmake_parse_arguments(ADDON "" "VERSION" "" ${ARGN})
  add_library(${target} MODULE ${ADDON_UNPARSED_ARGUMENTS} ${LAZY_NATIVE_SOURCES})
  target_include_directories(${target} PRIVATE "${LAZY_NATIVE_DIR}/include")
  target_include_directories(${target} SYSTEM PRIVATE "${NODE_ADDON_API_DIR}" "${NODE_API_HEADERS_DIR}")
  target_compile_definitions(${target} PRIVATE
    NAPI_VERSION=8 NODE_ADDON_API_CPP_EXCEPTIONS NODE_ADDON_API_CPP_EXCEPTIONS_ALL
    NODE_API_SWALLOW_UNTHROWABLE_EXCEPTIONS
    NODE_ADDON_API_DISABLE_DEPRECATED LAZY_NATIVE_VERSION="${ADDON_VERSION}")
  set_target_properties(${target} PROPERTIES PREFIX "" SUFFIX ".node" CXX_STANDARD 17 CXX_STANDARD_REQUIRED ON
    CXX_EXTENSIONS ON CXX_VISIBILITY_PRESET hidden VISIBILITY_INLINES_HIDDEN ON POSITION_INDEPENDENT_CODE ON)
  find_package(Threads REQUIRED)
  target_link_libraries(${target} PRIVATE Threads::Threads)
  if(APPLE)
    target_link_options(${target} PRIVATE -undefined dynamic_lookup)
  elseif(NOT WIN32)
    # One binary for every glibc since the build machine's: no dependency on its libstdc++.
    target_link_options(${target} PRIVATE -static-libstdc++ -static-libgcc)
  endif()
  lazy_native_hide(${target})
endfunction()
