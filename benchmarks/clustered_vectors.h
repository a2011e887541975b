#ifndef DIME_BENCHMARKS_CLUSTERED_VECTORS_H_
#define DIME_BENCHMARKS_CLUSTERED_VECTORS_H_

#include <cstdint>
#include <vector>

namespace dime {

// Vectors to index and queries for them, shaped as coarse embeddings are rather than as white
// noise, on which every approximate index fails:
// - items lie in clusters whose sizes follow Zipf's law; the centres lie near a subspace of 48
//   directions whose variances fall as 1/j, around a common mean;
// - within a cluster items differ along the same directions and by a little isotropic noise: their
//   cosine is about 0.75;
// - a query is an item moved farther off, as a caption lies off its image: its best cosine is about
//   0.5, where the sample model's captions find 0.39 to 0.52 among images and its images 0.46 to
//   0.55 among captions.
// A value, the same for the same arguments on any machine.
struct ClusteredVectors {
  std::vector<float> items;    // (count, dim) row-major, unit rows
  std::vector<float> queries;  // (num_queries, dim) row-major, unit rows

  static ClusteredVectors Make(int64_t count, int dim, int num_queries, uint64_t seed);
};

}  // namespace dime

#endif  // DIME_BENCHMARKS_CLUSTERED_VECTORS_H_
