// From a chain as it is given to sizes, places and tables of offsets.
#include "stages/patches.h"

#include <string.h>

namespace convscope {
namespace {

constexpr int64_t MOST = int64_t{1} << 26;  // numbers of one image in any map

// Writes a table, or only counts its entries where there is nowhere to write to.
struct Tables {
  int32_t *to;
  int64_t used = 0;

  template <class Entry>
  int64_t add(int64_t count, const Entry &entry) {
    const int64_t start = used;
    if (to)
      for (int64_t i = 0; i < count; ++i) to[start + i] = int32_t(entry(i));
    used += count;
    return start;
  }
};

bool usable(const convscope_stage &s) {
  const int64_t sizes[] = {s.in_channels,   s.in_height,    s.in_width,      s.out_channels,
                           s.kernel_height, s.kernel_width, s.stride_height, s.stride_width};
  for (int64_t size : sizes)
    if (size < 1 || size > MOST) return false;
  for (int64_t border : {s.top, s.bottom, s.left, s.right})
    if (border < 0 || border > MOST) return false;
  if (s.activation < CONVSCOPE_NONE || s.activation > CONVSCOPE_SIGMOID) return false;
  if (s.pooling < CONVSCOPE_NONE || s.pooling > CONVSCOPE_AVERAGE) return false;
  if (s.pooling)
    for (int64_t size : {s.pool_height, s.pool_width, s.pool_stride_height, s.pool_stride_width})
      if (size < 1 || size > 15) return false;  // a winner's place is half a byte a axis
  return true;
}

// A kernel that covers its whole input is a 1x1 kernel on as many channels.
convscope_stage normal_form(convscope_stage s) {
  const bool whole = s.kernel_height == s.in_height && s.kernel_width == s.in_width &&
                     !(s.top | s.bottom | s.left | s.right);
  if (whole) {
    s.in_channels *= s.in_height * s.in_width;
    s.in_height = s.in_width = s.kernel_height = s.kernel_width = 1;
    s.stride_height = s.stride_width = 1;
    s.pooling = CONVSCOPE_NONE;  // of windows of one number
  }
  if (!s.pooling) s.pool_height = s.pool_width = s.pool_stride_height = s.pool_stride_width = 1;
  return s;
}

bool work_out_sizes(Stage &stage) {
  const convscope_stage &s = stage.given;
  stage.padded_height = s.in_height + s.top + s.bottom;
  stage.padded_width = s.in_width + s.left + s.right;
  if (s.kernel_height > stage.padded_height || s.kernel_width > stage.padded_width) return false;
  stage.height = (stage.padded_height - s.kernel_height) / s.stride_height + 1;
  stage.width = (stage.padded_width - s.kernel_width) / s.stride_width + 1;
  if (s.pool_height > stage.height || s.pool_width > stage.width) return false;
  stage.out_height = (stage.height - s.pool_height) / s.pool_stride_height + 1;
  stage.out_width = (stage.width - s.pool_width) / s.pool_stride_width + 1;
  stage.patch_row = round_up(s.kernel_width * s.in_channels);
  stage.patch = s.kernel_height * stage.patch_row;
  const int64_t pixels = stage.padded_size();
  stage.image = round_up(pixels + (stage.connected() ? 0 : 16));
  stage.pooled = s.pooling != CONVSCOPE_NONE;
  stage.max_pooled = s.pooling == CONVSCOPE_MAX;
  stage.by_winners = stage.max_pooled;
  stage.by_patches = meets_in_patches(stage);
  const int64_t window = s.pool_height * s.pool_width;
  const bool apart = s.pool_stride_height >= s.pool_height && s.pool_stride_width >= s.pool_width;
  const bool in_registers =
      (s.pool_height <= 3 && s.pool_width <= 3) && (window <= 4 || window == 9);
  stage.fused = stage.pooled && apart && in_registers;
  return pixels < MOST && s.out_channels * stage.conv_area() < MOST &&
         s.out_channels < MOST / stage.patch;
}

void work_out_tables(Stage &stage, int64_t identity, Tables &tables) {
  const convscope_stage &s = stage.given;
  if (stage.connected()) {
    stage.taps = stage.by_pixel = stage.by_channel = identity;
    stage.unpadded_by_pixel = stage.classes = identity;
    return;
  }
  const int64_t height = stage.padded_height, width = stage.padded_width;
  stage.taps = tables.add(stage.tap_count(), [&](int64_t t) {
    const int64_t j = t % s.kernel_width, i = t / s.kernel_width % s.kernel_height;
    const int64_t c = t / (s.kernel_width * s.kernel_height);
    return ((c * height + i) * width + j) * IMAGES;
  });
  const int64_t pixels = height * width * s.in_channels;
  stage.by_pixel = tables.add(pixels, [&](int64_t q) {
    const int64_t c = q % s.in_channels, place = q / s.in_channels;
    return (c * height * width + place) * IMAGES;
  });
  stage.by_channel = tables.add(stage.in_size(), [&](int64_t q) {
    const int64_t x = q % s.in_width, y = q / s.in_width % s.in_height;
    const int64_t c = q / stage.in_area();
    return ((c * height + y + s.top) * width + x + s.left) * IMAGES;
  });
  stage.unpadded_by_pixel = tables.add(pixels, [&](int64_t q) {
    const int64_t c = q % s.in_channels, place = q / s.in_channels;
    const int64_t x = place % width - s.left, y = place / width - s.top;
    const bool inside = x >= 0 && x < s.in_width && y >= 0 && y < s.in_height;
    return (inside ? (c * s.in_height + y) * s.in_width + x : stage.in_size()) * IMAGES;
  });
  if (stage.by_patches)
    stage.by_place = tables.add(stage.out_size(), [&](int64_t q) {
      return (q % s.out_channels * stage.out_area() + q / s.out_channels) * IMAGES;
    });
  // The gradient map has its border in front only as wide as taps reach back.
  const int64_t map_width = stage.gradient_width(), map_area = map_width * stage.gradient_height();
  stage.classes = tables.used;
  for (int64_t a = 0; a < s.stride_height; ++a)
    for (int64_t b = 0; b < s.stride_width; ++b) {
      const int64_t rows = class_taps(s.kernel_height, a, s.stride_height);
      const int64_t columns = class_taps(s.kernel_width, b, s.stride_width);
      if (rows * columns == 0) continue;
      tables.add(s.out_channels * rows * columns, [&](int64_t t) {
        const int64_t j = t % columns, i = t / columns % rows, o = t / (columns * rows);
        return (o * map_area - i * map_width - j) * IMAGES;
      });
    }
}

// Where each stage's part of a block, of the sums and of the turned weights begins.
void work_out_places(Plan &plan) {
  for (int64_t n = 0; n < plan.count; ++n) {
    Stage &stage = plan.stages[n];
    const convscope_stage &s = stage.given;
    if (n > 0) {
      stage.input = plan.block;
      plan.block += stage.padded_size() * IMAGES;
    }
    if (stage.max_pooled) {
      stage.winners = plan.block;
      plan.block += round_up(stage.out_size() * IMAGES / 4);
    }
    stage.slopes = -1;
    const bool everywhere = s.pooling == CONVSCOPE_AVERAGE && s.activation;
    if (everywhere || !rises(s.activation)) {
      stage.slopes = plan.block;
      plan.block += s.out_channels * (everywhere ? stage.conv_area() : stage.out_area()) * IMAGES;
    }
    stage.weight_sum = plan.sums;
    stage.bias_sum = stage.weight_sum + s.out_channels * stage.patch;
    plan.sums = stage.bias_sum + s.out_channels * IMAGES;
    stage.turned = plan.turned;
    if (!stage.connected())
      plan.turned += stage.by_patches   ? 2 * s.out_channels * s.kernel_height * 4 * LANES
                     : stage.by_winners ? s.out_channels * stage.patch
                                        : round_up(stage.weight_count());
    if (stage.by_patches)
      plan.spare = most(plan.spare, 3 * stage.out_size() * IMAGES + 4 * (s.out_channels + LANES));
    const bool spread = stage.pooled && !stage.fused;
    if (spread) plan.conv_map = most(plan.conv_map, s.out_channels * stage.conv_area() * IMAGES);
    const int64_t larger = most(stage.in_size(), stage.out_size());
    plan.gradient = most(plan.gradient, (larger + 1) * IMAGES);
    if (!stage.connected() && !stage.by_winners)
      plan.bordered = most(plan.bordered, s.out_channels * stage.gradient_height() *
                                              stage.gradient_width() * IMAGES);
    plan.images = most(plan.images, (stage.connected() ? GROUP : 1) * IMAGES * stage.image);
    if (stage.by_winners) plan.lists = most(plan.lists, s.out_channels * 2 * (stage.list() + 1));
  }
  const Stage &first = plan.stages[0], &last = plan.stages[plan.count - 1];
  plan.first_input = first.padded_size() * IMAGES;
  plan.output = plan.block;
  plan.block += last.out_size() * IMAGES;
}

}  // namespace
}  // namespace convscope

using namespace convscope;

extern "C" int64_t convscope_plan(const convscope_stage *stages, int64_t count, void *buffer,
                                  int64_t bytes) {
  if (count < 1 || count > MOST_STAGES) return CONVSCOPE_E_ARGUMENT;
  Plan plan;
  memset(&plan, 0, sizeof plan);
  plan.count = count;
  Tables tables{nullptr};
  for (int pass = 0; pass < 2; ++pass) {  // counting, then writing
    int64_t widest = 0;
    for (int64_t n = 0; n < count; ++n) {
      Stage &stage = plan.stages[n];
      if (!usable(stages[n])) return CONVSCOPE_E_ARGUMENT;
      stage.given = normal_form(stages[n]);
      if (!work_out_sizes(stage)) return CONVSCOPE_E_ARGUMENT;
      if (n > 0 && stage.in_size() != plan.stages[n - 1].out_size()) return CONVSCOPE_E_ARGUMENT;
      widest = most(widest, most(stage.in_size(), stage.out_size()));
    }
    plan.identity = tables.add(widest, [](int64_t q) { return q * IMAGES; });
    for (int64_t n = 0; n < count; ++n) work_out_tables(plan.stages[n], plan.identity, tables);
    plan.tables = tables.used;
    const int64_t needed = int64_t(sizeof plan) + 4 * plan.tables;
    if (!buffer) return needed;
    if (bytes < needed) return CONVSCOPE_E_SPACE;
    tables = Tables{reinterpret_cast<int32_t *>(static_cast<Plan *>(buffer) + 1)};
  }
  work_out_places(plan);
  memcpy(buffer, &plan, sizeof plan);
  return 0;
}
