# Conventions for the project's own targets.

add_library(dime_warnings INTERFACE)
set(_warnings -Wall -Wextra -Wnon-virtual-dtor -Woverloaded-virtual -Wno-unused-parameter
  -Wno-missing-field-initializers)
target_compile_options(dime_warnings INTERFACE "$<$<COMPILE_LANGUAGE:CXX>:${_warnings}>")
target_include_directories(dime_warnings INTERFACE ${CMAKE_SOURCE_DIR})

# dime_library(NAME SOURCES... DEPS... [PRIVATE_DEPS...])
function(dime_library name)
  cmake_parse_arguments(ARG "" "" "SOURCES;DEPS;PRIVATE_DEPS" ${ARGN})
  add_library(${name} STATIC ${ARG_SOURCES})
  target_link_libraries(${name} PUBLIC dime_warnings ${ARG_DEPS} PRIVATE ${ARG_PRIVATE_DEPS})
endfunction()

# dime_program(NAME SOURCES... DEPS...): an executable in build/<preset>/bin.
function(dime_program name)
  cmake_parse_arguments(ARG "" "" "SOURCES;DEPS" ${ARGN})
  add_executable(${name} ${ARG_SOURCES})
  target_link_libraries(${name} PRIVATE dime_warnings ${ARG_DEPS})
endfunction()

# dime_test(NAME SOURCES... DEPS...): one GoogleTest program, registered as one CTest test.
# Tests find the tree by DIME_SOURCE_DIR and reference data by ../shared beside it.
function(dime_test name)
  cmake_parse_arguments(ARG "" "" "SOURCES;DEPS" ${ARGN})
  add_executable(${name} ${ARG_SOURCES})
  target_link_libraries(${name} PRIVATE dime_warnings ${ARG_DEPS} GTest::gmock GTest::gtest_main)
  target_compile_definitions(${name} PRIVATE DIME_SOURCE_DIR="${CMAKE_SOURCE_DIR}")
  set_target_properties(${name} PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/tests)
  add_test(NAME ${name} COMMAND ${name})
  # One thread each: ctest runs as many tests at once as there are cores, and OpenMP threads that wait
  # for one another on a crowded core are slow beyond measure.
  set_tests_properties(${name} PROPERTIES TIMEOUT 600 ENVIRONMENT "OMP_NUM_THREADS=1")
endfunction()
