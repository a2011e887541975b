#include "model/fingerprint.h"

#include <openssl/evp.h>

#include <cstdint>
#include <memory>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "index/mapped_file.h"
#include "index/status_macros.h"

namespace dime {

absl::StatusOr<std::string> FingerprintFiles(const std::string& directory,
                                             const std::vector<std::string>& files) {
  const std::unique_ptr<EVP_MD_CTX, void (*)(EVP_MD_CTX*)> context(EVP_MD_CTX_new(),
                                                                   EVP_MD_CTX_free);
  bool ok = context != nullptr && EVP_DigestInit_ex(context.get(), EVP_sha256(), nullptr) == 1;
  for (const std::string& file : files) {
    ASSIGN_OR_RETURN(const auto mapped, MappedFile::Open(absl::StrCat(directory, "/", file)));
    // Lengths keep names and contents apart.
    const std::string head =
        absl::StrCat(file.size(), " ", file, " ", mapped->bytes().size(), "\n");
    ok = ok && EVP_DigestUpdate(context.get(), head.data(), head.size()) == 1 &&
         EVP_DigestUpdate(context.get(), mapped->bytes().data(), mapped->bytes().size()) == 1;
  }
  unsigned char digest[EVP_MAX_MD_SIZE];
  unsigned int size = 0;
  if (!ok || EVP_DigestFinal_ex(context.get(), digest, &size) != 1) {
    return absl::InternalError("OpenSSL cannot compute SHA-256");
  }
  return absl::BytesToHexString(absl::string_view(reinterpret_cast<const char*>(digest), size));
}

}  // namespace dime
