#ifndef DIME_MODEL_CUDA_CUDA_DEVICE_CUH_
#define DIME_MODEL_CUDA_CUDA_DEVICE_CUH_

#include <cuda_runtime.h>

#include <iterator>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "model/cuda/device_memory.h"
#include "model/cuda/simt.h"

namespace dime::cuda {

// Counts for which launches are recorded as graphs; other counts take the next one's, whose
// superfluous blocks end at once.
inline constexpr int kCounts[] = {32, 64, 128, 256, 512, 1024};

template <class Kernel>
__global__ void __launch_bounds__(kBlockThreads) RunKernel(__grid_constant__ const Kernel kernel) {
  kernel();
}

// A CUDA device as a Device (see device_memory.h): a stream on which all goes in order. The first
// error is kept, and told by Finish().
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
    auto opened = std::unique_ptr<CudaDevice>(new CudaDevice(device));
    opened->Check(cudaStreamCreateWithFlags(&opened->stream_, cudaStreamNonBlocking));
    int bytes = 0;
    opened->Check(cudaDeviceGetAttribute(&bytes, cudaDevAttrMaxSharedMemoryPerBlockOptin, device));
    opened->max_shared_bytes_ = static_cast<size_t>(bytes);
    if (absl::Status status = opened->Finish(); !status.ok()) return status;
    return opened;
  }
  ~CudaDevice() {
    Select();
    for (const auto& [key, graph] : graphs_) cudaGraphExecDestroy(graph);
    if (stream_ != nullptr) cudaStreamDestroy(stream_);
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
    // More than 48 KB has to be asked for, once for each kernel.
    size_t& allowed =
        allowed_.emplace(reinterpret_cast<const void*>(&RunKernel<Kernel>), size_t{48} << 10)
            .first->second;
    if (shared_bytes > allowed) {
      Check(cudaFuncSetAttribute(RunKernel<Kernel>, cudaFuncAttributeMaxDynamicSharedMemorySize,
                                 static_cast<int>(shared_bytes)));
      allowed = shared_bytes;
    }
    const dim3 grid(static_cast<unsigned>(x), static_cast<unsigned>(y));
    RunKernel<Kernel><<<grid, kBlockThreads, shared_bytes, stream_>>>(kernel);
    Check(cudaGetLastError());
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

 private:
  explicit CudaDevice(int device) : device_(device) {}

  // For the calling thread. Where that fails, so does what follows, and is told; Allocate() and
  // Free(), which may run beside a call, leave error_ alone.
  void Select() const { static_cast<void>(cudaSetDevice(device_)); }
  void Check(cudaError_t error) {
    if (error == cudaSuccess || !error_.ok()) return;
    const std::string message =
        absl::StrCat("CUDA device ", device_, ": ", cudaGetErrorString(error));
    error_.Update(absl::Status(error == cudaErrorMemoryAllocation
                                   ? absl::StatusCode::kResourceExhausted
                                   : absl::StatusCode::kInternal,
                               message));
  }

  const int device_;
  cudaStream_t stream_ = nullptr;
  size_t max_shared_bytes_ = 0;
  std::map<const void*, size_t> allowed_;  // shared memory of a block, by kernel
  std::map<int, cudaGraphExec_t> graphs_;  // by Repeat()'s key
  absl::Status error_;
};

}  // namespace dime::cuda

#endif  // DIME_MODEL_CUDA_CUDA_DEVICE_CUH_
