# Four tiers, by folder: tests/unit, tests/mpi (1, 2, 3, 4 and 8 ranks), tests/gpu, tests/e2e.
# CTest runs one entry per file, so that LibTorch is loaded once per file and not once per test.
# A C++ test file `foo_bar_test.cc` holds suites whose names start with FooBar (check_layers.py).
# Exit code 77: every test of the entry skipped itself; its output says why.
find_package(GTest REQUIRED)

set(PF_TEST_ENVIRONMENT OMP_NUM_THREADS=1 OMP_WAIT_POLICY=PASSIVE)
if(PF_SANITIZE)
  set(PF_TEST_TIMEOUT 1200)
  # Leaks are not looked for: LibTorch and MPI keep memory until the process ends.
  list(APPEND PF_TEST_ENVIRONMENT ASAN_OPTIONS=detect_leaks=0:protect_shadow_gap=0
    UBSAN_OPTIONS=halt_on_error=1:print_stacktrace=1)
else()
  set(PF_TEST_TIMEOUT 600)
endif()

# The program is compiled with -O3; with -O1 its tests compile in 60 % of the time.
add_library(pf_test_options INTERFACE)
target_compile_options(pf_test_options INTERFACE
  $<$<AND:$<COMPILE_LANGUAGE:CXX>,$<CONFIG:Release>>:-O1>)
if(PF_SANITIZE)
  # GCC 12 takes std::regex for uninitialised under AddressSanitizer.
  target_compile_options(pf_test_options INTERFACE
    $<$<COMPILE_LANGUAGE:CXX>:-Wno-maybe-uninitialized>)
endif()

# GoogleTest beside what pf_pch holds: every test parses both.
add_library(pf_test_pch STATIC ${CMAKE_BINARY_DIR}/pch.cc)
target_link_libraries(pf_test_pch PRIVATE pf_test_options)
target_link_libraries(pf_test_pch PUBLIC pf::torch GTest::gtest GTest::gmock PRIVATE pf_warnings)
target_precompile_headers(pf_test_pch PRIVATE ${PF_PRECOMPILED} <gtest/gtest.h> <gmock/gmock.h>)

# pf_test_target(NAME): what the tests' libraries and programs have in common. With PF_UNITY the
# files of one folder are compiled together, PF_UNITY_TEST_FILES at a time.
function(pf_test_target name)
  pf_target(${name} PCH pf_test_pch)
  target_link_libraries(${name} PRIVATE pf_test_options)
  target_link_libraries(${name} PUBLIC pf_launch_commands pf::mpi pf::hdf5 pf::json pf::xxhash
    GTest::gtest GTest::gmock)
  if(NOT PF_UNITY)
    return()
  endif()
  set_target_properties(${name} PROPERTIES UNITY_BUILD ON UNITY_BUILD_MODE GROUP)
  get_target_property(sources ${name} SOURCES)
  foreach(source IN LISTS sources)
    file(RELATIVE_PATH folder ${CMAKE_SOURCE_DIR} ${source})
    get_filename_component(folder ${folder} DIRECTORY)
    string(MAKE_C_IDENTIFIER ${folder} folder)
    math(EXPR unit "0${files_${folder}} / ${PF_UNITY_TEST_FILES}")
    math(EXPR files_${folder} "0${files_${folder}} + 1")
    set_source_files_properties(${source} PROPERTIES UNITY_GROUP ${folder}_${unit})
  endforeach()
endfunction()

# pf_test_program(NAME SOURCES...): one executable of a tier.
function(pf_test_program name)
  add_executable(${name} ${ARGN})
  pf_test_target(${name})
  target_link_libraries(${name} PRIVATE pf_test_support)
endfunction()

# pf_test_name(TIER FILE out): unit.foo_test
function(pf_test_name tier source out)
  get_filename_component(name ${source} NAME_WE)
  set(${out} ${tier}.${name} PARENT_SCOPE)
endfunction()

# pf_select(FILE out): the option by which a test program runs the tests of that file alone.
function(pf_select source out)
  file(RELATIVE_PATH path ${CMAKE_SOURCE_DIR} ${source})
  set(${out} --file=${path} PARENT_SCOPE)
endfunction()

# pf_add_suites(PROGRAM TIER FILES...): CTest entries TIER.FILE, one per file.
function(pf_add_suites program tier)
  foreach(source IN LISTS ARGN)
    pf_test_name(${tier} ${source} test)
    pf_select(${source} selected)
    add_test(NAME ${test} COMMAND ${program} ${selected})
    set_tests_properties(${test} PROPERTIES LABELS ${tier} TIMEOUT ${PF_TEST_TIMEOUT}
      SKIP_RETURN_CODE 77 ENVIRONMENT "${PF_TEST_ENVIRONMENT}")
  endforeach()
endfunction()

# pf_add_rank_suites(PROGRAM TIER RANKS FILES...): the same under the real launcher, at each of
# these world sizes.
function(pf_add_rank_suites program tier worlds)
  foreach(ranks IN LISTS worlds)
    foreach(source IN LISTS ARGN)
      pf_test_name(${tier} ${source} test)
      pf_select(${source} selected)
      add_test(NAME ${test}.np${ranks} COMMAND ${MPIEXEC_EXECUTABLE} --oversubscribe
        ${MPIEXEC_NUMPROC_FLAG} ${ranks} $<TARGET_FILE:${program}> ${selected})
      set_tests_properties(${test}.np${ranks} PROPERTIES LABELS ${tier} PROCESSORS 2
        TIMEOUT ${PF_TEST_TIMEOUT} SKIP_RETURN_CODE 77 ENVIRONMENT
        "PF_TEST_RANKS=${ranks};${PF_TEST_ENVIRONMENT};OMPI_ALLOW_RUN_AS_ROOT=1;OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1")
    endforeach()
  endforeach()
endfunction()

# pf_add_scenario(FILE LABEL TIMEOUT ENVIRONMENT...): a Python file with unittest. One at a time, as each
# starts ranks of its own, but beside entries of other tiers; first, as they take longest (COST).
function(pf_add_scenario source label timeout)
  get_filename_component(name ${source} NAME_WE)
  get_filename_component(folder ${source} DIRECTORY)
  add_test(NAME ${label}.${name}
    COMMAND ${PF_PYTHON} ${CMAKE_SOURCE_DIR}/tests/e2e/run_file.py ${source}
    WORKING_DIRECTORY ${folder})
  set_tests_properties(${label}.${name} PROPERTIES LABELS ${label} TIMEOUT ${timeout}
    RESOURCE_LOCK scenario COST 1000 SKIP_RETURN_CODE 77 ENVIRONMENT "${ARGN}")
endfunction()
