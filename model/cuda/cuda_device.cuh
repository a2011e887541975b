#ifndef DIME_MODEL_CUDA_CUDA_DEVICE_CUH_
#define DIME_MODEL_CUDA_CUDA_DEVICE_CUH_

#include <cuda_runtime.h>

#include <iterator>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "model/cuda/device_memory.h"
#include "model/cuda/simt.h"
#include "model/cuda/warpgroup.h"

namespace dime::cuda {

// Counts for which launches are recorded as graphs, beside a program's largest; other counts take
// the next one's, whose superfluous blocks end at once.
inline constexpr int kCounts[] = {32, 64, 128, 256, 512};

template <class Kernel>
__global__ void __launch_bounds__(ThreadsOf<Kernel>())
    RunKernel(__grid_constant__ const Kernel kernel) {
  kernel();
}

// Writes whether the code that the device took has warpgroups' products (warpgroup.h): which of a
// build's it takes is the driver's choice.
struct HasWarpgroupsKernel {
  int* has;
  DIME_DEVICE void operator()() const {
    if (Thread() == 0) *has = DIME_WARPGROUPS;
  }
};

// A CUDA device as a Device (see device_memory.h): all goes in order, but for Fork()'s branches.
// The first error is kept, and told by Finish().
class CudaDevice {
 public:
  static absl::StatusOr<std::unique_ptr<CudaDevice>> Open(int device) {
    int count = 0;
    if (cudaGetDeviceCount(&count) != cudaSuccess || device < 0 || device >= count) {
      cudaGetLastError();  // is told here, and by no later call
      return absl::FailedPreconditionError(
          absl::StrCat("there is no CUDA device ", device, ": ", count,
                       " can be used here; take the CPU, or see why nvidia-smi does not show it"));
    }
    int major = 0;
    cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, device);
    if (major < 8) {
      return absl::FailedPreconditionError(
          absl::StrCat("CUDA device ", device, " is of compute capability ", major,
                       "; the kernels need 8.0 or later: take --scorer modules, or the CPU"));
    }
    auto opened = std::unique_ptr<CudaDevice>(new CudaDevice(device));
    opened->Select();
    opened->Check(cudaStreamCreateWithFlags(&opened->stream_, cudaStreamNonBlocking));
    opened->Check(cudaEventCreateWithFlags(&opened->forked_, cudaEventDisableTiming));
    for (int i = 0; i < kBranches; ++i) {
      opened->Check(cudaStreamCreateWithFlags(&opened->branches_[i], cudaStreamNonBlocking));
      opened->Check(cudaEventCreateWithFlags(&opened->joining_[i], cudaEventDisableTiming));
    }
    int bytes = 0;
    opened->Check(cudaDeviceGetAttribute(&bytes, cudaDevAttrMaxSharedMemoryPerBlockOptin, device));
    opened->max_shared_bytes_ = static_cast<size_t>(bytes);
    opened->Check(
        cudaDeviceGetAttribute(&opened->processors_, cudaDevAttrMultiProcessorCount, device));
    absl::StatusOr<DeviceBytes> has = opened->Allocate(sizeof(int));
    if (!has.ok()) return has.status();
    opened->Launch(HasWarpgroupsKernel{.has = reinterpret_cast<int*>(*has)}, 1, 1, 0);
    opened->Download(&opened->has_warpgroups_, *has, sizeof(int));
    const absl::Status status = opened->Finish();
    opened->Free(*has);
    if (!status.ok()) return status;
    return opened;
  }
  ~CudaDevice() {
    Select();
    for (const auto& [key, graph] : graphs_) cudaGraphExecDestroy(graph);
    for (const cudaStream_t stream : {stream_, branches_[0], branches_[1], branches_[2]}) {
      if (stream != nullptr) cudaStreamDestroy(stream);
    }
    for (const cudaEvent_t event : {forked_, joining_[0], joining_[1], joining_[2]}) {
      if (event != nullptr) cudaEventDestroy(event);
    }
  }

  absl::StatusOr<DeviceBytes> Allocate(size_t bytes) {
    Select();
    void* allocated = nullptr;
    const cudaError_t error = cudaMalloc(&allocated, bytes);
    if (error == cudaSuccess) return static_cast<DeviceBytes>(allocated);
    cudaGetLastError();
    return absl::ResourceExhaustedError(
        absl::StrCat("the device has no room for ", bytes, " bytes: ", cudaGetErrorString(error)));
  }
  void Free(DeviceBytes bytes) {
    Select();
    cudaFree(bytes);  // waits for what uses it
  }
  // Of pageable memory, so that the host's is read before the call returns.
  void Upload(void* to, const void* from, size_t bytes) {
    Select();
    Check(cudaMemcpyAsync(to, from, bytes, cudaMemcpyHostToDevice, stream_));
  }
  void Download(void* to, const void* from, size_t bytes) {
    Check(cudaMemcpyAsync(to, from, bytes, cudaMemcpyDeviceToHost, stream_));
  }
  void Zero(void* at, size_t bytes) {
    Select();
    Check(cudaMemsetAsync(at, 0, bytes, stream_));
  }
  template <class Kernel>
  void Launch(const Kernel& kernel, int x, int y, size_t shared_bytes) {
    // More than 48 KB has to be asked for, once for each kernel; always for all there is, for what
    // is asked for last holds for whoever launches it in this process.
    const auto* const function = reinterpret_cast<const void*>(&RunKernel<Kernel>);
    if (shared_bytes > size_t{48} << 10 && unbounded_.count(function) == 0) {
      const cudaError_t error =
          cudaFuncSetAttribute(RunKernel<Kernel>, cudaFuncAttributeMaxDynamicSharedMemorySize,
                               static_cast<int>(max_shared_bytes_));
      Check(error);
      if (error == cudaSuccess) unbounded_.insert(function);
    }
    const dim3 grid(static_cast<unsigned>(x), static_cast<unsigned>(y));
    RunKernel<Kernel><<<grid, ThreadsOf<Kernel>(), shared_bytes, stream_>>>(kernel);
    Check(cudaGetLastError());
  }
  template <class... Branch>
  void Fork(const Branch&... branches) {
    static_assert(sizeof...(branches) <= kBranches);
    Check(cudaEventRecord(forked_, stream_));
    int begun = 0;
    const auto begin = [&](const auto& branch) {
      const cudaStream_t forking = std::exchange(stream_, branches_[begun]);
      Check(cudaStreamWaitEvent(stream_, forked_));
      branch();
      Check(cudaEventRecord(joining_[begun], stream_));
      stream_ = forking;
      ++begun;
    };
    (begin(branches), ...);
    for (int i = 0; i < begun; ++i) Check(cudaStreamWaitEvent(stream_, joining_[i]));
  }
  template <class Record>
  void Repeat(int key, const Record& record) {
    const auto found = graphs_.find(key);
    if (found != graphs_.end()) return Check(cudaGraphLaunch(found->second, stream_));
    // Once as it is, which settles what may not be settled within a recording.
    record();
    Check(cudaStreamSynchronize(stream_));
    if (!error_.ok()) return;
    cudaGraph_t graph = nullptr;
    cudaGraphExec_t ready = nullptr;
    Check(cudaStreamBeginCapture(stream_, cudaStreamCaptureModeThreadLocal));
    record();
    Check(cudaStreamEndCapture(stream_, &graph));
    if (error_.ok()) Check(cudaGraphInstantiate(&ready, graph, 0));
    if (graph != nullptr) cudaGraphDestroy(graph);
    if (error_.ok()) graphs_.emplace(key, ready);
  }
  std::vector<int> counts() const { return {std::begin(kCounts), std::end(kCounts)}; }
  absl::Status Finish() {
    Select();
    Check(cudaStreamSynchronize(stream_));
    return std::exchange(error_, absl::OkStatus());
  }
  size_t max_shared_bytes() const { return max_shared_bytes_; }
  int processors() const { return processors_; }
  bool has_warpgroups() const { return has_warpgroups_ != 0; }

 private:
  explicit CudaDevice(int device) : device_(device) {}

  // For the calling thread. Where that fails, so does what follows, and is told; Allocate() and
  // Free(), which may run beside a call, leave error_ alone.
  void Select() const { static_cast<void>(cudaSetDevice(device_)); }
  void Check(cudaError_t error) {
    if (error == cudaSuccess) return;
    cudaGetLastError();  // is told here, and by no later call
    if (!error_.ok()) return;
    const std::string message =
        absl::StrCat("CUDA device ", device_, ": ", cudaGetErrorString(error));
    error_.Update(absl::Status(error == cudaErrorMemoryAllocation
                                   ? absl::StatusCode::kResourceExhausted
                                   : absl::StatusCode::kInternal,
                               message));
  }

  static constexpr int kBranches = 3;

  const int device_;
  cudaStream_t stream_ = nullptr;  // of launches and copies
  // Of Fork(): streams, and what they wait for, and are waited for by.
  cudaStream_t branches_[kBranches] = {};
  cudaEvent_t forked_ = nullptr;
  cudaEvent_t joining_[kBranches] = {};
  size_t max_shared_bytes_ = 0;
  int processors_ = 1;
  int has_warpgroups_ = 0;
  std::set<const void*> unbounded_;        // kernels that may take all shared memory
  std::map<int, cudaGraphExec_t> graphs_;  // by Repeat()'s key
  absl::Status error_;
};

}  // namespace dime::cuda

#endif  // DIME_MODEL_CUDA_CUDA_DEVICE_CUH_
