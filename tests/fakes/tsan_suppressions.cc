// What ThreadSanitizer must not report. Distributions build gRPC, OpenSSL, protobuf, Abseil and
// RocksDB without its instrumentation, so it sees their threads touch memory but not how they agree
// on it. Suppressed are reports with one of these libraries in a stack; races among the project's
// own threads, which use the standard library's mutexes, are reported as ever. Linked into the
// tests that use one of them; without ThreadSanitizer nothing calls it.
extern "C" const char* __tsan_default_suppressions();

extern "C" const char* __tsan_default_suppressions() {
  return "race:grpc\n"
         "race:libgpr\n"
         "race:google::protobuf\n"
         "race:libprotobuf\n"
         "race:libupb\n"
         "race:libabsl\n"
         "race:librocksdb\n"
         // What OpenSSL copies and allocates itself; its callers' accesses are watched.
         "called_from_lib:libcrypto.so\n"
         "called_from_lib:libssl.so\n";
}
