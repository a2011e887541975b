// What ThreadSanitizer must know of the distribution's gRPC, protobuf and Abseil, which were built
// without it: it cannot see how they hand memory from thread to thread, and would report that.
// Compiled into test programs whose threads are gRPC's; in other builds it is empty.

#if defined(__SANITIZE_THREAD__)

extern "C" const char* __tsan_default_options();
extern "C" const char* __tsan_default_suppressions();

extern "C" const char* __tsan_default_options() { return "ignore_noninstrumented_modules=1"; }

// gRPC's own templates, instantiated here; races in code that they call are still reported.
extern "C" const char* __tsan_default_suppressions() { return "race_top:grpc::internal::\n"; }

#endif
