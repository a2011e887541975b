#ifndef DIME_INDEX_PROGRESS_BAR_H_
#define DIME_INDEX_PROGRESS_BAR_H_

#include <cstdint>
#include <cstdio>
#include <string>

#include "absl/time/time.h"

namespace dime {

// Shows how far a long task of known length has come, with its rate and the time it still needs:
//   encoding images [=========>          ]  47%  4700/10000  312/s  ETA 17s  loss 0.31
// On a terminal one line is redrawn in place, at most ten times a second; elsewhere (a log file) a
// line is written for every further tenth of the task. The first line appears at once, so that the
// user sees that work has begun.
// Not thread-safe. The stream must outlive it.
class ProgressBar {
 public:
  // `total`: units of work, at least 0. `out` is usually stderr, so that results can be piped.
  ProgressBar(std::string label, int64_t total, std::FILE* out = stderr);
  ~ProgressBar();  // ends the line where Finish() was not reached, as after an error
  ProgressBar(const ProgressBar&) = delete;
  ProgressBar& operator=(const ProgressBar&) = delete;

  // `n` more units are done; never beyond the total.
  void Advance(int64_t n = 1);
  // All units up to `done` are done; it never goes back.
  void AdvanceTo(int64_t done);
  // A few words after the numbers, such as the present loss; shown from the next line on.
  void SetNote(std::string note) { note_ = std::move(note); }
  // Writes the last line, with the time that the whole took. Further calls do nothing.
  void Finish();

 private:
  std::string Line(absl::Time now) const;
  void Draw(absl::Time now);

  const std::string label_;
  const int64_t total_;
  std::FILE* const out_;
  const bool terminal_;
  const absl::Time start_;
  std::string note_;
  int64_t done_ = 0;
  int64_t tenths_shown_ = 0;  // of the task, where lines are written
  absl::Time last_drawn_;
  size_t last_width_ = 0;  // characters of the line on the terminal, to be wiped by the next
  bool finished_ = false;
};

}  // namespace dime

#endif  // DIME_INDEX_PROGRESS_BAR_H_
