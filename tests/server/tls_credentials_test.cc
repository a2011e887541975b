#include "server/tls_credentials.h"

#include "gtest/gtest.h"

namespace dime {
namespace {

TEST(TlsCredentialsTest, TheLoopbackIsKnownByNumber) {
  for (const char* here : {"127.0.0.1:0", "127.255.0.9:443", "localhost:8980", "[::1]:8980",
                           "unix:/run/dime.sock", "unix-abstract:dime"}) {
    EXPECT_TRUE(IsLoopback(here)) << here;
  }
  for (const char* elsewhere :
       {"0.0.0.0:8980", "[::]:8980", "10.0.0.1:80", "127.example.org:80",
        "127.0.0.1.example.org:80", "unixhost:80", "localhost.example.org:80", "128.0.0.1:80",
        "[fe80::1]:80", "127.0.0.1", ""}) {
    EXPECT_FALSE(IsLoopback(elsewhere)) << elsewhere;
  }
}

}  // namespace
}  // namespace dime
