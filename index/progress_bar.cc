#include "index/progress_bar.h"

#include <unistd.h>

#include <algorithm>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/time/clock.h"

namespace dime {
namespace {

constexpr int kBarWidth = 24;  // characters between the brackets
constexpr absl::Duration kRedrawInterval = absl::Milliseconds(100);

// Such as "0.4s", "17s", "2h3m4s": whole seconds are enough above ten of them.
std::string ShortDuration(absl::Duration duration) {
  if (duration < absl::Seconds(10)) {
    return absl::StrFormat("%.1fs", absl::ToDoubleSeconds(duration));
  }
  return absl::FormatDuration(absl::Trunc(duration, absl::Seconds(1)));
}

}  // namespace

ProgressBar::ProgressBar(std::string label, int64_t total, std::FILE* out)
    : label_(std::move(label)),
      total_(std::max<int64_t>(total, 0)),
      out_(out),
      terminal_(isatty(fileno(out)) == 1),
      start_(absl::Now()),
      last_drawn_(start_) {
  Draw(start_);
}

ProgressBar::~ProgressBar() {
  if (!finished_ && terminal_) {
    std::fputc('\n', out_);
    std::fflush(out_);
  }
}

void ProgressBar::Advance(int64_t n) { AdvanceTo(done_ + n); }

void ProgressBar::AdvanceTo(int64_t done) {
  if (finished_) return;
  done_ = std::clamp(done, done_, std::max(done_, total_));
  if (terminal_) {
    const absl::Time now = absl::Now();
    if (now - last_drawn_ >= kRedrawInterval) Draw(now);
    return;
  }
  const int64_t tenths = total_ > 0 ? static_cast<int64_t>(10.0 * done_ / total_) : 10;
  // The hundred per cent is left to Finish(), whose line also has the time.
  if (tenths > tenths_shown_ && tenths < 10) {
    tenths_shown_ = tenths;
    Draw(absl::Now());
  }
}

void ProgressBar::Finish() {
  if (finished_) return;
  finished_ = true;
  Draw(absl::Now());
  if (terminal_) std::fputc('\n', out_);
  std::fflush(out_);
}

std::string ProgressBar::Line(absl::Time now) const {
  const double share = total_ > 0 ? static_cast<double>(done_) / total_ : (finished_ ? 1.0 : 0.0);
  std::string line = label_;
  if (terminal_) {
    const int filled = static_cast<int>(share * kBarWidth);
    std::string bar(filled, '=');
    if (filled < kBarWidth) bar += finished_ ? ' ' : '>';
    bar.resize(kBarWidth, ' ');
    absl::StrAppend(&line, " [", bar, "]");
  }
  absl::StrAppendFormat(&line, " %3d%%  %d/%d", static_cast<int>(share * 100), done_, total_);
  const absl::Duration elapsed = now - start_;
  const double seconds = absl::ToDoubleSeconds(elapsed);
  if (done_ > 0 && seconds > 0) {
    const double rate = done_ / seconds;
    absl::StrAppendFormat(&line, "  %.*f/s", rate < 10 ? 2 : 0, rate);
    if (!finished_) {
      absl::StrAppend(&line, "  ETA ", ShortDuration(absl::Seconds((total_ - done_) / rate)));
    }
  }
  if (finished_) absl::StrAppend(&line, "  in ", ShortDuration(elapsed));
  if (!note_.empty()) absl::StrAppend(&line, "  ", note_);
  return line;
}

void ProgressBar::Draw(absl::Time now) {
  last_drawn_ = now;
  std::string line = Line(now);
  if (terminal_) {
    const size_t width = line.size();
    line.resize(std::max(width, last_width_), ' ');
    last_width_ = width;
    absl::FPrintF(out_, "\r%s", line);
  } else {
    absl::FPrintF(out_, "%s\n", line);
  }
  std::fflush(out_);
}

}  // namespace dime
