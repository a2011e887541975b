#ifndef DIME_TESTS_FAKES_TEST_CERTIFICATES_H_
#define DIME_TESTS_FAKES_TEST_CERTIFICATES_H_

#include <memory>
#include <string>

struct evp_pkey_st;
struct x509_st;

namespace dime {

// A certificate and its private key, in PEM.
struct TestCertificate {
  std::string certificate;
  std::string key;
};

// An authority of its own making, which issues certificates for a day. For one thread.
class TestAuthority {
 public:
  explicit TestAuthority(const std::string& name);
  ~TestAuthority();

  // Of the authority itself, for those who shall trust it.
  const std::string& certificate() const { return certificate_; }
  // For a server or a client of this common name and DNS name.
  TestCertificate Issue(const std::string& name);

 private:
  evp_pkey_st* const key_;
  x509_st* const x509_;
  std::string certificate_;
  long next_serial_ = 2;
};

// Replaces the file whole, as whoever renews certificates should.
void ReplaceFile(const std::string& path, const std::string& content);

}  // namespace dime

#endif  // DIME_TESTS_FAKES_TEST_CERTIFICATES_H_
