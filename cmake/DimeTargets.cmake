# Conventions for the project's own targets.

add_library(dime_warnings INTERFACE)
set(_warnings -Wall -Wextra -Wnon-virtual-dtor -Woverloaded-virtual -Wno-unused-parameter
  -Wno-missing-field-initializers)
target_compile_options(dime_warnings INTERFACE "$<$<COMPILE_LANGUAGE:CXX>:${_warnings}>")
target_include_directories(dime_warnings INTERFACE ${CMAKE_SOURCE_DIR})

# Headers of others, precompiled once for all that include them: reading them is most of what an
# ordinary unit costs. What a unit uses it includes all the same; -DCMAKE_DISABLE_PRECOMPILE_HEADERS=ON
# shows whether. Each set has the first in it; the model's LibTorch is model/dime's own.
set(DIME_BASE_HEADERS
  <algorithm> <array> <cmath> <filesystem> <fstream> <functional> <map> <memory> <mutex> <optional>
  <string> <thread> <utility> <vector>
  <absl/status/statusor.h> <absl/strings/str_cat.h> <absl/strings/str_format.h> <absl/time/clock.h>
  <absl/types/span.h> <nlohmann/json.hpp>)
set(DIME_RPC_HEADERS ${DIME_BASE_HEADERS}
  <google/protobuf/struct.pb.h> <google/protobuf/util/json_util.h> <grpcpp/grpcpp.h>
  <grpcpp/generic/generic_stub.h> <grpcpp/support/server_callback.h>)
function(_dime_header_set name)
  add_library(${name} OBJECT ${CMAKE_SOURCE_DIR}/cmake/headers.cc)
  target_link_libraries(${name} PRIVATE dime_warnings)
  target_precompile_headers(${name} PRIVATE ${ARGN})
endfunction()
_dime_header_set(dime_base_headers ${DIME_BASE_HEADERS})
_dime_header_set(dime_rpc_headers ${DIME_RPC_HEADERS})
_dime_header_set(dime_program_headers ${DIME_RPC_HEADERS} <CLI/CLI.hpp>)
if(DIME_TESTS)
  _dime_header_set(dime_test_headers ${DIME_RPC_HEADERS} <gmock/gmock.h> <gtest/gtest.h>)
  target_link_libraries(dime_test_headers PRIVATE GTest::gmock)
endif()

# dime_reuse_headers(TARGET OF): the headers that another target precompiled. Executables are compiled
# as -fPIE, which would not take what a library compiled as -fPIC.
function(dime_reuse_headers target of)
  target_compile_options(${target} PRIVATE $<$<COMPILE_LANGUAGE:CXX>:-fPIC>)
  target_precompile_headers(${target} REUSE_FROM ${of})
endfunction()

# Sources that are compiled several in one, whose templates are then instantiated once for all: names
# in their unnamed namespaces must differ.
option(DIME_UNITY "Compile several sources in one unit where that is quicker" ON)
function(dime_unity target batch_size)
  set_target_properties(${target} PROPERTIES
    UNITY_BUILD ${DIME_UNITY} UNITY_BUILD_BATCH_SIZE ${batch_size})
endfunction()

# HEADERS of the three functions below: base, rpc, program, test, torch (see model/dime), or none.
function(_dime_headers target which)
  if(which STREQUAL torch)
    dime_reuse_headers(${target} dime_network)
  elseif(NOT which STREQUAL none)
    dime_reuse_headers(${target} dime_${which}_headers)
  endif()
endfunction()

# dime_library(NAME SOURCES... DEPS... [PRIVATE_DEPS...] [HEADERS base])
function(dime_library name)
  cmake_parse_arguments(ARG "" "HEADERS" "SOURCES;DEPS;PRIVATE_DEPS" HEADERS base ${ARGN})
  add_library(${name} STATIC ${ARG_SOURCES})
  target_link_libraries(${name} PUBLIC dime_warnings ${ARG_DEPS} PRIVATE ${ARG_PRIVATE_DEPS})
  _dime_headers(${name} ${ARG_HEADERS})
endfunction()

# dime_program(NAME SOURCES... DEPS... [HEADERS program]): an executable in build/<preset>/bin.
function(dime_program name)
  cmake_parse_arguments(ARG "" "HEADERS" "SOURCES;DEPS" HEADERS program ${ARGN})
  add_executable(${name} ${ARG_SOURCES})
  target_link_libraries(${name} PRIVATE dime_warnings ${ARG_DEPS})
  _dime_headers(${name} ${ARG_HEADERS})
endfunction()

# dime_test(NAME SOURCES... DEPS... [HEADERS test]): one GoogleTest program, registered as one CTest
# test. Tests find the tree by DIME_SOURCE_DIR and reference data by ../shared beside it.
function(dime_test name)
  cmake_parse_arguments(ARG "" "HEADERS" "SOURCES;DEPS" HEADERS test ${ARGN})
  add_executable(${name} ${ARG_SOURCES})
  target_link_libraries(${name} PRIVATE dime_warnings ${ARG_DEPS} GTest::gmock GTest::gtest_main)
  target_compile_definitions(${name} PRIVATE DIME_SOURCE_DIR="${CMAKE_SOURCE_DIR}")
  # They gain nothing by more, and compiling them is most of a build.
  target_compile_options(${name} PRIVATE $<$<AND:$<COMPILE_LANGUAGE:CXX>,$<CONFIG:Release>>:-O1>)
  _dime_headers(${name} ${ARG_HEADERS})
  dime_unity(${name} 6)
  set_target_properties(${name} PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/tests)
  add_test(NAME ${name} COMMAND ${name})
  # One thread each: ctest runs as many tests at once as there are cores, and OpenMP threads that wait
  # for one another on a crowded core are slow beyond measure.
  set_tests_properties(${name} PROPERTIES TIMEOUT 600 ENVIRONMENT "OMP_NUM_THREADS=1")
endfunction()
