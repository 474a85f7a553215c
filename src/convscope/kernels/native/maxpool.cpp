// Max pooling of channels-last images; the winner of a window is kept as one byte.
#include "convscope.h"
#include "lanes.h"
#include "threads.h"

namespace {

struct Span {  // from <= i < to
  int64_t from, to;
};

inline int64_t lesser(int64_t a, int64_t b) {
  return a < b ? a : b;
}
inline int64_t greater(int64_t a, int64_t b) {
  return a > b ? a : b;
}

// Taps of window `out` that lie on the image.
inline Span taps(int64_t out, int64_t kernel, int64_t stride, int64_t padding, int64_t size) {
  const int64_t start = out * stride - padding;
  return {greater(0, -start), lesser(kernel, size - start)};
}

// Windows that see element `i`.
inline Span windows(int64_t i, int64_t kernel, int64_t stride, int64_t padding, int64_t outputs) {
  const int64_t last = i + padding, first = last - kernel + 1;
  return {first <= 0 ? 0 : (first + stride - 1) / stride, lesser(outputs, last / stride + 1)};
}

// Calls body.run<L>(channel) for all channels, in the widest vectors that fit.
template <class Body>
inline void all_channels(int64_t channels, const Body &body) {
  int64_t c = 0;
  for (; c + 16 <= channels; c += 16) body.template run<16>(c);
  if (c + 8 <= channels) body.template run<8>(c), c += 8;
  if (c + 4 <= channels) body.template run<4>(c), c += 4;
  for (; c < channels; ++c) body.template run<1>(c);
}

template <class T, bool keep>
struct Window {
  const T *x;  // the first element of the window, even if it lies off the image
  T *y;
  uint8_t *winners;
  int64_t row, column;  // numbers from one tap to the next
  Span rows, columns;
  int64_t width;  // taps in a row

  template <int L>
  void run(int64_t c) const {
    typedef Lanes<L> V;
    const T *const first = x + c;
    auto best = load<L>(first + rows.from * row + columns.from * column);
    typename V::I place = typename V::I{} + int32_t(rows.from * width + columns.from);
    for (int64_t i = rows.from; i < rows.to; ++i)
      for (int64_t j = columns.from; j < columns.to; ++j) {
        const auto value = load<L>(first + i * row + j * column);
        const auto wins = (value > best) | (value != value);
        if (keep) {
          const auto here = typename V::I{} + int32_t(i * width + j);
          place = wins ? here : place;
        }
        best = wins ? value : best;
      }
    store<L>(y + c, best);
    if (keep) {
      const auto bytes = V::template convert<typename V::B>(place);
      memcpy(winners + c, &bytes, sizeof(bytes));
    }
  }
};

template <class T, bool keep, int kernel>
void forward(const convscope_maxpool &p, const void *input, void *output, uint8_t *winners,
             int threads) {
  const int64_t channels = p.channels, row = p.width * channels;
  const int64_t kh = kernel ? kernel : p.kernel_height;
  const int64_t kw = kernel ? kernel : p.kernel_width;
  convscope::in_parts(p.images * p.out_height, threads, [&](int64_t line) {
    const int64_t image = line / p.out_height, oy = line % p.out_height;
    const Span rows = taps(oy, kh, p.stride_height, p.padding_height, p.height);
    const T *const top = static_cast<const T *>(input) + image * p.height * row +
                         (oy * p.stride_height - p.padding_height) * row;
    for (int64_t ox = 0; ox < p.out_width; ++ox) {
      const Span columns = taps(ox, kw, p.stride_width, p.padding_width, p.width);
      const int64_t at = (line * p.out_width + ox) * channels;
      const T *const x = top + (ox * p.stride_width - p.padding_width) * channels;
      T *const y = static_cast<T *>(output) + at;
      uint8_t *const place = keep ? winners + at : nullptr;
      const bool whole = rows.to - rows.from == kh && columns.to - columns.from == kw;
      if (kernel && whole)
        all_channels(channels,
                     Window<T, keep>{x, y, place, row, channels, {0, kernel}, {0, kernel}, kernel});
      else
        all_channels(channels, Window<T, keep>{x, y, place, row, channels, rows, columns, kw});
    }
  });
}

constexpr int MOST_WINDOWS = 64;  // windows over one element that are summed at once

// The windows over one element of dx, and which tap of each it is.
template <class T>
struct Seen {
  const T *gradient[MOST_WINDOWS];
  const uint8_t *winners[MOST_WINDOWS];
  int32_t tap[MOST_WINDOWS];
  int count = 0;
};

// One element of dx: the sum over the windows that it won.
template <class T, int known>
struct Element {
  const Seen<T> &seen;
  T *dx;

  template <int L>
  void run(int64_t c) const {
    typedef Lanes<L> V;
    const typename V::F nothing{};
    typename V::F sum{};
    const int count = known ? known : seen.count;
    for (int i = 0; i < count; ++i) {
      const auto place = load_bytes<L>(seen.winners[i] + c);
      const auto g = load<L>(seen.gradient[i] + c);
      sum += place == seen.tap[i] ? g : nothing;
    }
    store<L>(dx + c, sum);
  }
};

// The elements under one window that shares none: the winner's gets the gradient.
template <class T, int kernel>
struct Own {
  const T *gradient;
  const uint8_t *winners;
  T *dx;
  int64_t row, column;

  template <int L>
  void run(int64_t c) const {
    typedef Lanes<L> V;
    const auto g = load<L>(gradient + c);
    const auto place = load_bytes<L>(winners + c);
    const typename V::F nothing{};
    for (int i = 0; i < kernel; ++i)
      for (int j = 0; j < kernel; ++j)
        store<L>(dx + i * row + j * column + c, place == i * kernel + j ? g : nothing);
  }
};

template <class T>
void gather_row(const convscope_maxpool &p, const T *gradient, const uint8_t *winners, T *dx,
                int64_t y, int64_t from) {
  const Span rows = windows(y, p.kernel_height, p.stride_height, p.padding_height, p.out_height);
  Span columns = windows(from, p.kernel_width, p.stride_width, p.padding_width, p.out_width);
  const int64_t top = y + p.padding_height - rows.from * p.stride_height;
  const int64_t line = p.out_width * p.channels;
  for (int64_t x = from; x < p.width; ++x) {
    // A division for each element would cost more than the element itself.
    const int64_t right = x + p.padding_width;
    if (columns.to < p.out_width && columns.to * p.stride_width <= right) ++columns.to;
    if (columns.from * p.stride_width + p.kernel_width <= right) ++columns.from;
    Seen<T> seen;
    const int64_t corner = rows.from * line + columns.from * p.channels;
    const int64_t left = right - columns.from * p.stride_width;
    int64_t row_at = corner, row_tap = top * p.kernel_width + left;
    for (int64_t oy = rows.from; oy < rows.to; ++oy) {
      int64_t at = row_at, tap = row_tap;
      for (int64_t ox = columns.from; ox < columns.to; ++ox) {
        seen.gradient[seen.count] = gradient + at;
        seen.winners[seen.count] = winners + at;
        seen.tap[seen.count++] = int32_t(tap);
        at += p.channels;
        tap -= p.stride_width;
      }
      row_at += line;
      row_tap -= p.stride_height * p.kernel_width;
    }
    T *const to = dx + (y * p.width + x) * p.channels;
    switch (seen.count) {
      case 1: all_channels(p.channels, Element<T, 1>{seen, to}); break;
      case 2: all_channels(p.channels, Element<T, 2>{seen, to}); break;
      case 4: all_channels(p.channels, Element<T, 4>{seen, to}); break;
      default: all_channels(p.channels, Element<T, 0>{seen, to});
    }
  }
}

template <class T, int kernel>
void own_rows(const convscope_maxpool &p, const T *gradient, const uint8_t *winners, T *dx,
              int64_t oy) {
  const int64_t row = p.width * p.channels;
  for (int64_t ox = 0; ox < p.out_width; ++ox) {
    const int64_t at = (oy * p.out_width + ox) * p.channels;
    all_channels(p.channels, Own<T, kernel>{gradient + at, winners + at,
                                            dx + oy * kernel * row + ox * kernel * p.channels, row,
                                            p.channels});
  }
  for (int64_t y = oy * kernel; y < (oy + 1) * kernel; ++y)
    gather_row(p, gradient, winners, dx, y, p.out_width * kernel);
}

template <class T>
void backward(const convscope_maxpool &p, const void *from, const uint8_t *places, void *to,
              int threads) {
  const bool apart =
      p.kernel_height == p.stride_height && p.kernel_width == p.stride_width &&
      p.padding_height == 0 && p.padding_width == 0 && p.kernel_height == p.kernel_width &&
      p.out_height * p.kernel_height <= p.height && p.out_width * p.kernel_width <= p.width;
  const int64_t kernel = apart && (p.kernel_width == 2 || p.kernel_width == 3) ? p.kernel_width : 1;
  // A band is what one row of windows owns, or one row of elements.
  const int64_t owned = kernel > 1 ? p.out_height : 0;
  const int64_t bands = owned + p.height - owned * kernel;
  const int64_t size = p.height * p.width * p.channels;
  const int64_t out_size = p.out_height * p.out_width * p.channels;
  convscope::in_parts(p.images * bands, threads, [&](int64_t line) {
    const int64_t image = line / bands, band = line % bands;
    const T *const gradient = static_cast<const T *>(from) + image * out_size;
    const uint8_t *const winners = places + image * out_size;
    T *const dx = static_cast<T *>(to) + image * size;
    if (band >= owned)
      gather_row(p, gradient, winners, dx, band - owned + owned * kernel, 0);
    else if (kernel == 2)
      own_rows<T, 2>(p, gradient, winners, dx, band);
    else
      own_rows<T, 3>(p, gradient, winners, dx, band);
  });
}

template <class T, bool keep>
void choose_kernel(const convscope_maxpool &p, const void *x, void *y, uint8_t *winners,
                   int threads) {
  const bool square = p.kernel_height == p.kernel_width;
  if (square && p.kernel_width == 2)
    forward<T, keep, 2>(p, x, y, winners, threads);
  else if (square && p.kernel_width == 3)
    forward<T, keep, 3>(p, x, y, winners, threads);
  else
    forward<T, keep, 0>(p, x, y, winners, threads);
}

bool is_sound(const convscope_maxpool &p, int threads) {
  return p.images >= 0 && p.channels >= 1 && p.height >= 1 && p.width >= 1 && p.out_height >= 1 &&
         p.out_width >= 1 && p.kernel_height >= 1 && p.kernel_width >= 1 &&
         p.kernel_height * p.kernel_width <= 255 && p.kernel_height <= 8 * p.stride_height &&
         p.kernel_width <= 8 * p.stride_width && p.stride_height >= 1 && p.stride_width >= 1 &&
         p.padding_height >= 0 && p.padding_width >= 0 && 2 * p.padding_height <= p.kernel_height &&
         2 * p.padding_width <= p.kernel_width &&
         (p.out_height - 1) * p.stride_height - p.padding_height < p.height &&
         (p.out_width - 1) * p.stride_width - p.padding_width < p.width && threads >= 1;
}

}  // namespace

extern "C" {

int convscope_maxpool_forward(const convscope_maxpool *pool, const void *x, void *y,
                              uint8_t *winners, int threads) {
  if (!is_sound(*pool, threads)) return CONVSCOPE_E_ARGUMENT;
  if (pool->half)
    winners ? choose_kernel<Half, true>(*pool, x, y, winners, threads)
            : choose_kernel<Half, false>(*pool, x, y, winners, threads);
  else
    winners ? choose_kernel<float, true>(*pool, x, y, winners, threads)
            : choose_kernel<float, false>(*pool, x, y, winners, threads);
  return 0;
}

int convscope_maxpool_backward(const convscope_maxpool *pool, const void *gradient,
                               const uint8_t *winners, void *dx, int threads) {
  if (!is_sound(*pool, threads)) return CONVSCOPE_E_ARGUMENT;
  if (pool->half)
    backward<Half>(*pool, gradient, winners, dx, threads);
  else
    backward<float>(*pool, gradient, winners, dx, threads);
  return 0;
}
}
