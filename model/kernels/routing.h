#ifndef DIME_MODEL_KERNELS_ROUTING_H_
#define DIME_MODEL_KERNELS_ROUTING_H_

// What gates make of the paths between cells (dime-model.md, 4). For the units that float_vector.h
// is for; in an unnamed namespace for the same reason.
namespace dime::kernels {
namespace {

constexpr int kCells = 4;
constexpr int kLayers = 3;
constexpr int kGuidance = 1, kReasoning = 2, kRefinement = 3;  // cells; 0 rectifies
constexpr float kShut = 1e-4f;  // below this a path's gates count as shut

constexpr int PathsOf(int layer) { return layer == kLayers - 1 ? 1 : kCells; }

// Gates of one pair and layer, and what mixing makes of them.
struct Routing {
  float gate[kCells][kCells] = {};    // [cell][path]
  float share[kCells][kCells] = {};   // [path][cell]: p, or in the last layer q / total
  float weight[kCells][kCells] = {};  // the same with the skip
  float total[kCells] = {};           // of a path: what its gates were divided by
  float bypass[kCells] = {};          // last layer: o / total, how much of cell j's input goes on
  bool open[kCells] = {};             // whether anything flows through the cell

  void Mix() {
    for (int i = 0; i < kCells; ++i) {
      float sum = 0;
      for (int j = 0; j < kCells; ++j) sum += gate[j][i];
      total[i] = sum + 1e-8f;
      for (int j = 0; j < kCells; ++j) weight[i][j] = share[i][j] = gate[j][i] / total[i];
      if (sum < kShut) weight[i][0] += 1;
    }
    for (int j = 0; j < kCells; ++j) {
      open[j] = gate[j][0] > 0 || gate[j][1] > 0 || gate[j][2] > 0 || gate[j][3] > 0;
    }
  }
  void MixLast() {
    float sum = 0;
    for (int j = 0; j < kCells; ++j) {
      bypass[j] = gate[j][0] < kShut / kCells ? 1 : 0;
      sum += gate[j][0] + bypass[j];
    }
    total[0] = sum;
    for (int j = 0; j < kCells; ++j) {
      weight[0][j] = share[0][j] = gate[j][0] / sum;
      bypass[j] /= sum;
      open[j] = gate[j][0] > 0;
    }
  }
};

// A layer's path weights as dime-model.md, 5 orders them: kCells * kCells, in the last layer
// kCells.
inline void PutPathWeights(const Routing& routing, int layer, float* to) {
  for (int i = 0; i < PathsOf(layer); ++i) {
    for (int j = 0; j < kCells; ++j) {
      to[i * kCells + j] = layer == kLayers - 1 ? routing.gate[j][0] : routing.share[i][j];
    }
  }
}

}  // namespace
}  // namespace dime::kernels

#endif  // DIME_MODEL_KERNELS_ROUTING_H_
