#ifndef DIME_SERVER_SEARCH_EXECUTOR_H_
#define DIME_SERVER_SEARCH_EXECUTOR_H_

#include <memory>
#include <optional>
#include <string>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "dime/v1/retrieval.pb.h"
#include "index/gallery.h"
#include "model/call_context.h"
#include "server/admission_control.h"
#include "server/caller.h"
#include "server/metrics.h"
#include "server/pipeline/search_pipeline.h"
#include "server/pipeline/stopwatch.h"
#include "server/recall_auditor.h"
#include "server/request_converter.h"
#include "server/response_writer.h"
#include "server/shadow_comparer.h"
#include "server/window_cache.h"

namespace dime {

// What came of a search that was answered.
template <typename Response>
struct SearchAnswer {
  Response response;
  v1::SearchStats stats;  // whether or not the response has them
};

// One search from its message to its answer's, in two steps: what is quick and can be refused
// happens at the door, the server's load included, the rest on a worker. Further pages of an
// earlier search are cut from its window, of the version of the gallery that it was over, whatever
// was written since. Thread-safe. Its parts must outlive it.
class SearchExecutor {
 public:
  struct Parts {
    const RequestConverter* converter;
    const SearchPipeline* pipeline;
    const ResponseWriter* writer;
    WindowCache* windows;
    AdmissionControl* admission;
    Metrics* metrics;
    RecallAuditor* auditor = nullptr;  // null: nothing is audited
    ShadowComparer* shadow = nullptr;  // null: there is no shadow
  };
  explicit SearchExecutor(const Parts& parts) : parts_(parts) {}

  // A search that was checked.
  class Search {
   public:
    // How urgent it is: what queues go by.
    Priority priority() const { return priority_; }

   private:
    friend class SearchExecutor;
    Priority priority_ = Priority::kInteractive;
    mutable AdmissionControl::Ticket ticket;  // its execution's, as soon as that begins
    std::shared_ptr<const GalleryView> view;
    // Of a first page.
    SearchRequest request;
    std::string digest;  // if further pages may be asked
    // Of a further page.
    std::shared_ptr<const ResultWindow> window;
    PageRequest page;
    Stopwatch stopwatch;
  };

  // At the door: `view` is the present version of the gallery, and the caller's priority the one
  // where the request gives none. INVALID_ARGUMENT, NOT_FOUND or FAILED_PRECONDITION, with the
  // details of error_details.h; RESOURCE_EXHAUSTED as AdmissionControl has it.
  absl::StatusOr<std::shared_ptr<const Search>> Prepare(const v1::SearchImagesRequest& request,
                                                        std::shared_ptr<const GalleryView> view,
                                                        const Caller& caller) const;
  absl::StatusOr<std::shared_ptr<const Search>> Prepare(const v1::SearchCaptionsRequest& request,
                                                        std::shared_ptr<const GalleryView> view,
                                                        const Caller& caller) const;

  // On a worker, once for a search; of a Prepare() of the same kind. When it returns the search no
  // longer counts as admitted, whoever still holds it. Errors also those of SearchPipeline.
  absl::StatusOr<SearchAnswer<v1::SearchImagesResponse>> SearchImages(
      const Search& search, const CallContext& context) const;
  absl::StatusOr<SearchAnswer<v1::SearchCaptionsResponse>> SearchCaptions(
      const Search& search, const CallContext& context) const;

 private:
  template <typename Request>
  absl::StatusOr<std::shared_ptr<const Search>> PrepareAny(const Request& request,
                                                           std::shared_ptr<const GalleryView> view,
                                                           const Caller& caller) const;
  // `write(view, result, timings, want)`: the response.
  template <typename Response, typename Write>
  absl::StatusOr<SearchAnswer<Response>> Execute(RpcMethod method, const Search& search,
                                                 const CallContext& context,
                                                 const Write& write) const;

  const Parts parts_;
};

}  // namespace dime

#endif  // DIME_SERVER_SEARCH_EXECUTOR_H_
