#ifndef DIME_CLIENT_ITEM_UPSERTER_H_
#define DIME_CLIENT_ITEM_UPSERTER_H_

#include <cstdint>
#include <functional>
#include <optional>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "client/gallery_client.h"

namespace dime {

// Writes many items over one stream at a time: as many on their way as the server's window allows,
// results as they come. What the server has no room for is sent again after the delay that it asks;
// where a stream breaks, or the server closes it, what was not acknowledged goes over the next one,
// so that a server may restart meanwhile. That is safe: a second write of an item changes nothing,
// and of items of one id each is sent when the one before has settled, so that the last one stays
// (unless a server has still not looked at an item of a broken stream when later ones have come).
// Thread-safe, but an upsert is one thread's work. The client must outlive it.
class ItemUpserter {
 public:
  struct Options {
    // Give up after so long without a result.
    absl::Duration patience = absl::Minutes(2);
    // Between two streams; grows to ten times as much while nothing gets through.
    absl::Duration reconnect_pause = absl::Milliseconds(300);
    // Items on their way, at most; the server may allow fewer.
    int max_window = 64;
    // Larger messages are refused here, as the server would: Limits.max_request_bytes.
    int64_t max_request_bytes = 16 << 20;
  };
  template <typename Request>
  struct Numbered {
    int64_t number = 0;  // the caller's
    Request request;
  };
  // Items to write, one a call, and nothing when there are no more. Called on the caller's thread.
  template <typename Request>
  using Source = std::function<absl::StatusOr<std::optional<Numbered<Request>>>()>;
  // What became of an item, once for each: the outcome's code is 0, or one that sending again does
  // not help. On another thread, one call at a time; an error ends the upsert.
  using Settled =
      std::function<absl::Status(int64_t number, const std::string& id, const v1::Outcome&)>;

  ItemUpserter(const GalleryClient* client, const Options& options)
      : client_(*client), options_(options) {}

  // Until every item is settled. The source's and `settled`'s errors, after what is on its way has
  // settled; the stream's: FAILED_PRECONDITION (READ_ONLY) and others that do not pass;
  // DEADLINE_EXCEEDED or the stream's UNAVAILABLE when patience ends.
  absl::Status Upsert(const Source<v1::UpsertImagesRequest>& source, const Settled& settled) const;
  absl::Status Upsert(const Source<v1::UpsertCaptionsRequest>& source,
                      const Settled& settled) const;

 private:
  const GalleryClient& client_;
  const Options options_;
};

}  // namespace dime

#endif  // DIME_CLIENT_ITEM_UPSERTER_H_
