# Imported targets for everything foreign. Distribution packages are found as usual; what
# scripts/setup.sh put into DIME_DEPS (LibTorch, FAISS, google.rpc protos) is imported by hand.
if(DEFINED ENV{DIME_DEPS})
  set(_default_deps "$ENV{DIME_DEPS}")
elseif(DEFINED ENV{XDG_CACHE_HOME})
  set(_default_deps "$ENV{XDG_CACHE_HOME}/dime-deps")
else()
  set(_default_deps "$ENV{HOME}/.cache/dime-deps")
endif()
set(DIME_DEPS "${_default_deps}" CACHE PATH "Where scripts/setup.sh put LibTorch and FAISS")

function(_dime_require path what)
  if(NOT EXISTS "${path}")
    message(FATAL_ERROR "${what} is not at ${path}; run scripts/setup.sh, or set DIME_DEPS")
  endif()
endfunction()

find_package(Threads REQUIRED)
find_package(absl REQUIRED)
find_package(Protobuf REQUIRED)
find_package(gRPC REQUIRED)
find_package(prometheus-cpp REQUIRED)
find_package(CLI11 REQUIRED)
find_package(nlohmann_json REQUIRED)
find_package(RocksDB REQUIRED)
find_package(ZLIB REQUIRED)
find_package(OpenSSL REQUIRED)
find_package(OpenMP REQUIRED)
find_package(BLAS REQUIRED)
find_package(PkgConfig REQUIRED)
pkg_check_modules(CAIRO REQUIRED IMPORTED_TARGET cairo)
if(DIME_TESTS)
  find_package(GTest REQUIRED)
endif()
if(DIME_BENCHMARKS)
  find_package(benchmark REQUIRED)
endif()

# The server's allocator: a search makes and frees some hundreds of small objects, which costs a
# tenth more by the C library's. Sanitizers bring their own.
add_library(dime_malloc INTERFACE IMPORTED)
if(NOT DIME_SANITIZE)
  pkg_check_modules(TCMALLOC REQUIRED IMPORTED_TARGET libtcmalloc_minimal)
  # By the name alone: what refers to its symbols does so weakly.
  target_link_libraries(dime_malloc INTERFACE
    "-Wl,--push-state,--no-as-needed" PkgConfig::TCMALLOC "-Wl,--pop-state")
endif()

find_library(UTF8PROC_LIBRARY utf8proc REQUIRED)
find_path(UTF8PROC_INCLUDE_DIR utf8proc.h REQUIRED)
add_library(dime_utf8proc INTERFACE IMPORTED)
target_link_libraries(dime_utf8proc INTERFACE ${UTF8PROC_LIBRARY})
target_include_directories(dime_utf8proc INTERFACE ${UTF8PROC_INCLUDE_DIR})

# JSON Web Tokens; its pkg-config file wants jansson's, which the distribution does not have.
find_path(CJOSE_INCLUDE_DIR cjose/cjose.h REQUIRED)
find_library(CJOSE_LIBRARY cjose REQUIRED)
add_library(dime_cjose INTERFACE IMPORTED)
target_link_libraries(dime_cjose INTERFACE ${CJOSE_LIBRARY})
target_include_directories(dime_cjose INTERFACE ${CJOSE_INCLUDE_DIR})

find_library(HTTPLIB_LIBRARY cpp-httplib REQUIRED)
add_library(dime_httplib INTERFACE IMPORTED)
target_link_libraries(dime_httplib INTERFACE ${HTTPLIB_LIBRARY})

# FAISS, static, without a CMake package of its own.
_dime_require("${DIME_DEPS}/faiss/lib/libfaiss.a" "FAISS")
add_library(dime_faiss STATIC IMPORTED)
set_target_properties(dime_faiss PROPERTIES
  IMPORTED_LOCATION "${DIME_DEPS}/faiss/lib/libfaiss.a"
  INTERFACE_INCLUDE_DIRECTORIES "${DIME_DEPS}/faiss/include"
  INTERFACE_SYSTEM_INCLUDE_DIRECTORIES "${DIME_DEPS}/faiss/include"
  INTERFACE_LINK_LIBRARIES "OpenMP::OpenMP_CXX;BLAS::BLAS")

file(STRINGS "${DIME_DEPS}/faiss/include/faiss/Index.h" _faiss_version
  REGEX "#define FAISS_VERSION_(MAJOR|MINOR|PATCH) ")
string(REGEX REPLACE "[^0-9;]" "" _faiss_version "${_faiss_version}")
string(REPLACE ";" "." DIME_FAISS_VERSION "${_faiss_version}")

set(DIME_GOOGLEAPIS_PROTOS "${DIME_DEPS}/googleapis-protos")
_dime_require("${DIME_GOOGLEAPIS_PROTOS}/google/rpc/error_details.proto" "google.rpc protos")

# LibTorch straight from the wheel. Not by find_package(Torch): that puts the wheel's own protobuf
# headers on protobuf::libprotobuf and demands a CUDA toolkit. Only the CPU libraries are linked;
# the CUDA ones are loaded at run time when a device is asked for (model/dime/device.h), which also
# keeps libcublasLt's large static TLS out of processes that do not need it.
if(DIME_TORCH)
  set(_torch "${DIME_DEPS}/torch/torch")
  _dime_require("${_torch}/lib/libtorch_cpu.so" "LibTorch")
  file(STRINGS "${_torch}/version.py" _torch_version REGEX "__version__ = ")
  string(REGEX REPLACE "[^0-9.]*([0-9.]+).*" "\\1" DIME_TORCH_VERSION "${_torch_version}")
  add_library(dime_torch INTERFACE IMPORTED)
  target_include_directories(dime_torch SYSTEM INTERFACE
    "${_torch}/include" "${_torch}/include/torch/csrc/api/include")
  target_link_libraries(dime_torch INTERFACE
    "-L${_torch}/lib" "-Wl,-rpath,${_torch}/lib" "-Wl,--push-state,--no-as-needed"
    torch_cpu c10 "-Wl,--pop-state" Threads::Threads)
endif()
