# Four tiers, by folder: tests/unit, tests/mpi (1, 2, 3, 4 and 8 ranks), tests/gpu, tests/e2e.
# A C++ test file `foo_bar_test.cc` holds suites whose names start with FooBar (check_layers.py holds
# it to that: others would never run); CTest runs one entry per file, so that LibTorch is loaded once
# per file and not once per test.
find_package(GTest REQUIRED)

function(pf_suite_pattern source out)
  get_filename_component(name ${source} NAME_WE)
  string(REGEX REPLACE "_test$" "" name ${name})
  string(REPLACE "_" ";" words ${name})
  set(pattern "")
  foreach(word IN LISTS words)
    string(SUBSTRING ${word} 0 1 first)
    string(SUBSTRING ${word} 1 -1 rest)
    string(TOUPPER ${first} first)
    string(APPEND pattern ${first}${rest})
  endforeach()
  set(${out} ${pattern} PARENT_SCOPE)
endfunction()

# pf_test_binary(NAME SOURCES...): one executable of a tier.
function(pf_test_binary name)
  add_executable(${name} ${ARGN})
  pf_target(${name})
  target_link_libraries(${name} PRIVATE pf_launch_commands
    pf::mpi pf::hdf5 pf::json pf::xxhash GTest::gtest GTest::gmock)
endfunction()

# pf_add_suites(BINARY TIER PREFIX SOURCES...): CTest entries TIER.PREFIX.file, one per file.
function(pf_add_suites binary tier)
  foreach(source IN LISTS ARGN)
    pf_suite_pattern(${source} pattern)
    get_filename_component(name ${source} NAME_WE)
    add_test(NAME ${tier}.${name} COMMAND ${binary} --gtest_filter=${pattern}*:*/${pattern}*)
    set_tests_properties(${tier}.${name} PROPERTIES LABELS ${tier} TIMEOUT 300
      SKIP_REGULAR_EXPRESSION "\\[  SKIPPED \\]" ENVIRONMENT "OMP_NUM_THREADS=1;OMP_WAIT_POLICY=PASSIVE")
  endforeach()
endfunction()

# pf_add_rank_suites(BINARY TIER RANKS SOURCES...): the same under the real launcher, at each of
# these world sizes.
function(pf_add_rank_suites binary tier worlds)
  foreach(ranks IN LISTS worlds)
    foreach(source IN LISTS ARGN)
      pf_suite_pattern(${source} pattern)
      get_filename_component(name ${source} NAME_WE)
      set(test ${tier}.${name}.np${ranks})
      add_test(NAME ${test} COMMAND ${MPIEXEC_EXECUTABLE} --oversubscribe ${MPIEXEC_NUMPROC_FLAG}
        ${ranks} $<TARGET_FILE:${binary}> --gtest_filter=${pattern}*:*/${pattern}*)
      set_tests_properties(${test} PROPERTIES LABELS ${tier} PROCESSORS 2 TIMEOUT 300 ENVIRONMENT
        "PF_TEST_RANKS=${ranks};OMP_NUM_THREADS=1;OMP_WAIT_POLICY=PASSIVE;OMPI_ALLOW_RUN_AS_ROOT=1;OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1")
    endforeach()
  endforeach()
endfunction()
