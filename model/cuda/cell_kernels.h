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
    products.Multiply(tile, product, NoAddend(), [&](int r) {
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
  int hidden_width;
  Sequence in, out;

  // A block's, but for the products': the tile, whose place the hidden rows take once it has been
  // attended with, and what attention makes of it.
  struct Memory {
    TileRows* rows;
    BlockedRows x, hidden, attended;
  };
  size_t TileBytes() const {
    return sizeof(TileRows) +
           BlockedRows::Bytes(Products::kRows, std::max(in.width, hidden_width)) +
           BlockedRows::Bytes(Products::kRows, in.width) + Products::SharedBytes(stream);
  }
  DIME_DEVICE Memory Take(SharedPieces* pieces) const {
    Memory memory;
    memory.rows = pieces->Take<TileRows>(1);
    memory.hidden =
        pieces->TakeRows(Products::kRows, in.width > hidden_width ? in.width : hidden_width);
    memory.x = {.values = memory.hidden.values, .width = in.width};
    memory.hidden.width = hidden_width;
    memory.attended = pieces->TakeRows(Products::kRows, in.width);
    return memory;
  }

  DIME_HOST_DEVICE int ItemsOfTile() const { return cuda::ItemsOfTile(Products::kRows, positions); }
  int Blocks(int items) const { return (items + ItemsOfTile() - 1) / ItemsOfTile(); }
  DIME_DEVICE bool Beyond() const { return BlockX() * ItemsOfTile() >= selection.size(); }
  DIME_DEVICE int Items() const {  // of this block's
    const int left = selection.size() - BlockX() * ItemsOfTile();
    return left < ItemsOfTile() ? left : ItemsOfTile();
  }
  // Rows and values of the block's items.
  DIME_DEVICE void Load(Products& products, const Memory& memory) const {
    FindTileRows<Products::kRows>(selection, positions, ItemsOfTile() * positions, in, out,
                                  memory.rows);
    products.Sync();
    LoadTile<Products::kRows, Products::kThreads>(*memory.rows, memory.x);
    products.Sync();
  }
  // out = residual + second(relu(first(attended))). residual(r): what gives two values of row r
  // from column n on, zeros beyond its end; once they are asked for, `attended` is overwritten.
  template <class Residual>
  DIME_DEVICE void FeedForward(Products& products, const Memory& memory,
                               Residual&& residual) const {
    const BlockedRows& x = memory.attended;
    const BlockedRows& hidden = memory.hidden;
    products.Sync();
    products.Multiply(x, first, NoAddend(), [&](int r) {
      return [to = hidden.at(r, 0), end = hidden.width](int n, float v0, float v1) {
        if (n < end) StoreWord(to + BlockedRows::Along(n), Pack(Max(v0, 0), Max(v1, 0)));
      };
    });
    products.Sync();
    products.Multiply(hidden, second, residual, [&](int r) {
      return [to = x.at(r, 0), end = x.width](int n, float v0, float v1) {
        if (n < end) StoreWord(to + BlockedRows::Along(n), Pack(v0, v1));
      };
    });
    products.Sync();
    StoreTile<Products::kRows, Products::kThreads>(x, *memory.rows);
  }
};

// The intra-modal reasoning cell: self-attention and feed-forward part, each with its residual.
template <class Products, int kBlocks>
struct ReasonKernel : ItemTiles<Products> {
  static constexpr int kThreads = Products::kBlock;
  Product projection;  // of the first heads; that of the next ones lies behind it
  int num_heads, head_size;
  int group_heads;  // that are projected at once

  size_t SharedBytes() const {
    return this->TileBytes() + BlockedRows::Bytes(Products::kRows, projection.tiles * 8);
  }
  DIME_DEVICE void operator()() const {
    if (this->Beyond()) return;
    constexpr int kRows = Products::kRows;
    SharedPieces pieces;
    const auto memory = this->Take(&pieces);
    const BlockedRows &x = memory.x, &attended = memory.attended;
    const BlockedRows projected = pieces.TakeRows(kRows, projection.tiles * 8);
    Products products(this->stream, &pieces);
    if (products.Supplies()) return products.Supply();
    this->Load(products, memory);
    const int width = x.width;
    const int used = num_heads * head_size;
    for (int i = Thread(); i < kRows * (width - used); i += Products::kThreads) {
      *attended.at(i / (width - used), used + i % (width - used)) = 0;
    }

    const SelfAttention<kBlocks> attention = {
        .positions = this->positions, .head_size = head_size, .last_row = kRows - 1};
    const int items = this->Items();
    Product product = projection;
    for (int head = 0; head < num_heads; head += group_heads) {
      products.Multiply(x, product, NoAddend(), [&](int r) {
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
    this->FeedForward(products, memory, [&](int r) {
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

  size_t SharedBytes() const {
    return this->TileBytes() + attention.SharedBytes(this->ItemsOfTile());
  }
  DIME_DEVICE void operator()() const {
    if (this->Beyond()) return;
    SharedPieces pieces;
    const auto memory = this->Take(&pieces);
    auto* const work =
        pieces.Take<unsigned char>(static_cast<int>(attention.SharedBytes(this->ItemsOfTile())));
    Products products(this->stream, &pieces);
    if (products.Supplies()) return products.Supply();
    this->Load(products, memory);
    attention.Attend(
        this->Items(), Products::kRows - 1, memory.x, memory.attended, work,
        [&](int item) { return contexts[memory.rows->item[item * this->positions]]; },
        [&] { products.Sync(); });
    this->FeedForward(products, memory, [&](int r) {
      const Bf16* const from = memory.rows->from[r];
      return [from, end = from == nullptr ? 0 : memory.x.width](int n) {
        return n < end ? LoadWord(from + n) : 0;
      };
    });
  }
};

}  // namespace dime::cuda

#endif  // DIME_MODEL_CUDA_CELL_KERNELS_H_
