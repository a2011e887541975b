#ifndef DIME_MODEL_CUDA_CELL_KERNELS_H_
#define DIME_MODEL_CUDA_CELL_KERNELS_H_

#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "model/cuda/cross_attention.h"
#include "model/cuda/row_tiles.h"
#include "model/cuda/self_attention.h"
#include "model/cuda/simt.h"
#include "model/cuda/tile_products.h"

// Kernels of DIME's cells on a device (see row_tiles.h), one for each, in terms of Products (see
// tile_products.h). A block takes a tile of rows through a whole cell: what stands between its
// products stays in shared memory.
namespace dime::cuda {

// out = in W^T + b, tile by tile; an item's rows may lie in two.
template <class Products>
struct LinearKernel {
  static constexpr int kThreads = Products::kBlock;
  Selection selection;
  int positions;
  WeightStream stream;
  Product product;
  Sequence in, out;

  static int Blocks(int items, int positions) {
    return (items * positions + Products::kRows - 1) / Products::kRows;
  }
  static size_t SharedBytes(const WeightStream& stream, int width) {
    return sizeof(TileRows) + Products::SharedBytes(stream) +
           BlockedRows::Bytes(Products::kRows, width);
  }
  DIME_DEVICE void operator()() const {
    if (BlockX() * Products::kRows >= selection.size() * positions) return;
    SharedPieces memory;
    auto* const rows = memory.Take<TileRows>(1);
    const BlockedRows tile = memory.TakeRows(Products::kRows, in.width);
    Products products(stream, &memory);
    if (products.Supplies()) return products.Supply();
    FindTileRows<Products::kRows>(selection, positions, Products::kRows, in, out, rows);
    products.Sync();
    LoadTile<Products::kRows, Products::kThreads>(*rows, tile);
    products.Sync();
    products.Multiply(tile, product, [&](int r) {
      Bf16* const to = rows->to[r];
      return [to, end = to == nullptr ? 0 : out.width](int n, float v0, float v1) {
        if (n < end) StoreWord(to + n, Pack(v0, v1));
      };
    });
  }
};

// What the kernels below have in common: a tile holds whole items.
template <class Products>
struct ItemTiles {
  Selection selection;
  int positions;
  WeightStream stream;
  Product first, second;  // of the feed-forward part
  Sequence in, out;

  DIME_HOST_DEVICE int ItemsOfTile() const { return cuda::ItemsOfTile(Products::kRows, positions); }
  int Blocks(int items) const { return (items + ItemsOfTile() - 1) / ItemsOfTile(); }
  DIME_DEVICE bool Beyond() const { return BlockX() * ItemsOfTile() >= selection.size(); }
  DIME_DEVICE int Items() const {  // of this block's
    const int left = selection.size() - BlockX() * ItemsOfTile();
    return left < ItemsOfTile() ? left : ItemsOfTile();
  }
  // Rows and values of the block's items.
  DIME_DEVICE void Load(Products& products, TileRows* rows, const BlockedRows& to) const {
    FindTileRows<Products::kRows>(selection, positions, ItemsOfTile() * positions, in, out, rows);
    products.Sync();
    LoadTile<Products::kRows, Products::kThreads>(*rows, to);
    products.Sync();
  }
  // out = residual + second(relu(first(x))); x is overwritten. residual(r): what gives two values
  // of row r from column n on.
  template <class Residual>
  DIME_DEVICE void FeedForward(Products& products, const TileRows& rows, const BlockedRows& x,
                               const BlockedRows& hidden, Residual&& residual) const {
    products.Sync();
    products.Multiply(x, first, [&](int r) {
      return [to = hidden.at(r, 0), end = hidden.width](int n, float v0, float v1) {
        if (n < end) StoreWord(to + BlockedRows::Along(n), Pack(Max(v0, 0), Max(v1, 0)));
      };
    });
    products.Sync();
    products.MultiplyAndAdd(hidden, second, residual, [&](int r) {
      return [to = x.at(r, 0), end = x.width](int n, float v0, float v1) {
        if (n < end) StoreWord(to + BlockedRows::Along(n), Pack(v0, v1));
      };
    });
    products.Sync();
    StoreTile<Products::kRows, Products::kThreads>(x, rows);
  }
};

// The intra-modal reasoning cell: self-attention and feed-forward part, each with its residual.
template <class Products, int kBlocks>
struct ReasonKernel : ItemTiles<Products> {
  static constexpr int kThreads = Products::kBlock;
  using Tiles = ItemTiles<Products>;
  Product projection;  // of the first heads; that of the next ones lies behind it
  int num_heads, head_size;
  int group_heads;  // that are projected at once
  int hidden_width;

  size_t SharedBytes() const {
    constexpr int kRows = Products::kRows;
    return sizeof(TileRows) + Products::SharedBytes(this->stream) +
           BlockedRows::Bytes(kRows, std::max(this->in.width, hidden_width)) +
           BlockedRows::Bytes(kRows, this->in.width) +
           BlockedRows::Bytes(kRows, projection.tiles * 8);
  }
  DIME_DEVICE void operator()() const {
    if (this->Beyond()) return;
    constexpr int kRows = Products::kRows;
    const int width = this->in.width;
    SharedPieces memory;
    auto* const rows = memory.Take<TileRows>(1);
    BlockedRows hidden = memory.TakeRows(kRows, width > hidden_width ? width : hidden_width);
    const BlockedRows x = {.values = hidden.values, .width = width};  // until all is attended to
    hidden.width = hidden_width;
    const BlockedRows attended = memory.TakeRows(kRows, width);
    const BlockedRows projected = memory.TakeRows(kRows, projection.tiles * 8);
    Products products(this->stream, &memory);
    if (products.Supplies()) return products.Supply();
    this->Load(products, rows, x);
    const int used = num_heads * head_size;
    for (int i = Thread(); i < kRows * (width - used); i += Products::kThreads) {
      *attended.at(i / (width - used), used + i % (width - used)) = 0;
    }

    const SelfAttention<kBlocks> attention = {
        .positions = this->positions, .head_size = head_size, .last_row = kRows - 1};
    const int items = this->Items();
    Product product = projection;
    for (int head = 0; head < num_heads; head += group_heads) {
      products.Multiply(x, product, [&](int r) {
        return [to = projected.at(r, 0)](int n, float v0, float v1) {
          StoreWord(to + BlockedRows::Along(n), Pack(v0, v1));
        };
      });
      products.Sync();
      const int heads = num_heads - head < group_heads ? num_heads - head : group_heads;
      const int blocks = RoundUp(this->positions, 16) / 16;
      for (int task = Thread() / kWarp; task < items * heads * blocks;
           task += Products::kThreads / kWarp) {
        const int own = task / blocks % heads;
        attention.Attend(projected, own * 3 * RoundUp(head_size, 16),
                         task / blocks / heads * this->positions, task % blocks,
                         (head + own) * head_size, x, attended);
      }
      products.Sync();
      product.weights += int64_t{product.tiles} * product.steps * kWarp;
      product.bias += product.tiles * 8;
    }
    this->FeedForward(products, *rows, attended, hidden, [&](int r) {
      return [from = attended.at(r, 0), end = width](int n) {
        return n < end ? LoadWord(from + BlockedRows::Along(n)) : 0;
      };
    });
  }
};

// The cross-modal refinement cell: attention over the context, and the feed-forward part with the
// residual of the cell's input.
template <class Products, int kBlocks>
struct RefineKernel : ItemTiles<Products> {
  static constexpr int kThreads = Products::kBlock;
  CrossAttention<kBlocks, Products::kThreads> attention;
  unsigned char* const* contexts;  // by item
  int hidden_width;

  size_t SharedBytes() const {
    constexpr int kRows = Products::kRows;
    return sizeof(TileRows) + Products::SharedBytes(this->stream) +
           BlockedRows::Bytes(kRows, std::max(this->in.width, hidden_width)) +
           BlockedRows::Bytes(kRows, this->in.width) + attention.SharedBytes(this->ItemsOfTile());
  }
  DIME_DEVICE void operator()() const {
    if (this->Beyond()) return;
    constexpr int kRows = Products::kRows;
    const int width = this->in.width;
    SharedPieces memory;
    auto* const rows = memory.Take<TileRows>(1);
    BlockedRows hidden = memory.TakeRows(kRows, width > hidden_width ? width : hidden_width);
    const BlockedRows x = {.values = hidden.values, .width = width};  // until it is attended with
    hidden.width = hidden_width;
    const BlockedRows crossed = memory.TakeRows(kRows, width);
    auto* const work =
        memory.Take<unsigned char>(static_cast<int>(attention.SharedBytes(this->ItemsOfTile())));
    Products products(this->stream, &memory);
    if (products.Supplies()) return products.Supply();
    this->Load(products, rows, x);
    attention.Attend(
        this->Items(), kRows - 1, x, crossed, work,
        [&](int item) { return contexts[rows->item[item * this->positions]]; },
        [&] { products.Sync(); });
    this->FeedForward(products, *rows, crossed, hidden, [&](int r) {
      const Bf16* const from = rows->from[r];
      return [from, end = from == nullptr ? 0 : width](int n) {
        return n < end ? LoadWord(from + n) : 0;
      };
    });
  }
};

}  // namespace dime::cuda

#endif  // DIME_MODEL_CUDA_CELL_KERNELS_H_
