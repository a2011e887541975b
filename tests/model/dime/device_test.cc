#include "model/dime/device.h"

#include <unistd.h>

#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace dime {
namespace {

using testing::HasSubstr;

TEST(ParseDeviceTest, TheCpuIsAlwaysThere) {
  const absl::StatusOr<torch::Device> device = ParseDevice("cpu");
  ASSERT_TRUE(device.ok()) << device.status();
  EXPECT_TRUE(device->is_cpu());
  EXPECT_TRUE(ParseDevice("auto").ok());
}

TEST(ParseDeviceTest, WhatIsNoDeviceIsRefusedWithWhatThereIs) {
  for (const char* name : {"", "gpu", "cuda:", "cuda:x", "cuda:-1", "cuda:256", "cuda0", "CPU"}) {
    const absl::StatusOr<torch::Device> device = ParseDevice(name);
    ASSERT_FALSE(device.ok()) << name;
    EXPECT_EQ(device.status().code(), absl::StatusCode::kInvalidArgument) << name;
    EXPECT_THAT(std::string(device.status().message()), HasSubstr("use cpu, cuda, cuda:N or auto"));
  }
}

TEST(ParseDeviceTest, WithoutADriverCudaIsRefusedAndAutoIsTheCpu) {
  if (access("/dev/nvidiactl", F_OK) == 0 || access("/dev/dxg", F_OK) == 0) {
    GTEST_SKIP() << "this machine has a CUDA driver";
  }
  const absl::StatusOr<torch::Device> device = ParseDevice("cuda:1");
  EXPECT_EQ(device.status().code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(device.status().message()), HasSubstr("device cuda:1: "));
  EXPECT_TRUE(ParseDevice("auto")->is_cpu());
}

}  // namespace
}  // namespace dime
