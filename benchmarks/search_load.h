#ifndef DIME_BENCHMARKS_SEARCH_LOAD_H_
#define DIME_BENCHMARKS_SEARCH_LOAD_H_

#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "benchmarks/load_driver.h"
#include "dime/v1/retrieval.grpc.pb.h"
#include "grpcpp/channel.h"

namespace dime {

// What a load generator searches for. Exactly one of the lists is filled.
struct SearchQueries {
  std::vector<std::string> texts;            // to SearchImages
  std::vector<std::string> image_ids;        // to SearchCaptions
  std::vector<v1::RegionFeatures> features;  // to SearchCaptions
  bool empty() const { return texts.empty() && image_ids.empty() && features.empty(); }
};

// Searches by gRPC's callback API, one query after the other, round and round; without retries, so
// that each answer is seen. Thread-safe; must outlive the calls under way.
class SearchLoad {
 public:
  // `queries` must not be empty.
  SearchLoad(std::shared_ptr<grpc::Channel> channel, SearchQueries queries,
             const v1::SearchOptions& options);

  // A LoadDriver::Call.
  void Call(int64_t number, absl::Time deadline, LoadDriver::Done done) const;

 private:
  const SearchQueries queries_;
  const v1::SearchOptions options_;
  const std::unique_ptr<v1::RetrievalService::Stub> stub_;
};

// A channel for SearchLoad: no retries, no proxy, a connection of its own.
std::shared_ptr<grpc::Channel> MakeLoadChannel(const std::string& address);

// Queries of each kind, up to `count`. Texts: the gallery's own captions in the order of their ids,
// or the lines of a file. Errors are those of the calls; NOT_FOUND for a file that is not there,
// FAILED_PRECONDITION for a gallery without such items.
absl::StatusOr<SearchQueries> ListTexts(const std::shared_ptr<grpc::Channel>& channel, int count);
absl::StatusOr<SearchQueries> ReadTexts(const std::string& path, int count);
absl::StatusOr<SearchQueries> ListImageIds(const std::shared_ptr<grpc::Channel>& channel,
                                           int count);
// Made-up features of the model's sizes, float16: what they say does not change what they cost.
absl::StatusOr<SearchQueries> MakeFeatures(const std::shared_ptr<grpc::Channel>& channel,
                                           int count);

}  // namespace dime

#endif  // DIME_BENCHMARKS_SEARCH_LOAD_H_
