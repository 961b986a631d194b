// Scales: from numbers to pixels and back, round ticks, numbers as text, colours of heat maps.

const HUGE = 1e300; // beyond, differences overflow; nobody reads an axis there

// A scale from `domain` to pixels. A logarithmic one takes log(value + shift); for steps the shift is 1, so that step 0
// is seen.
function makeScale(domain, pixels, log = false, shift = 0) {
  const [low, high] = domain.map((value) => Math.max(-HUGE, Math.min(HUGE, value)));
  const into = log ? (value) => logOf(value, shift) : (value) => value;
  const back = log ? (value) => 10 ** value - shift : (value) => value;
  const start = into(low);
  const factor = (pixels[1] - pixels[0]) / (into(high) - start || 1);
  return {
    domain: [low, high],
    log,
    shift,
    to: (value) => pixels[0] + (into(value) - start) * factor,
    from: (pixel) => back(start + (pixel - pixels[0]) / factor),
  };
}

// What is at or below zero, a step before the first one say, is as far left as there is room.
function logOf(value, shift) {
  return Math.log10(Math.max(value + shift, shift ? 0.5 : Number.MIN_VALUE));
}

function ticksOf(scale, count) {
  const [low, high] = scale.domain;
  return scale.log ? logTicks(low, high, scale.shift, count) : linearTicks(low, high, count);
}

// Multiples of 1, 2 or 5 times a power of ten.
function linearTicks(low, high, count) {
  const rough = (high - low) / Math.max(count, 1);
  if (!(rough > 0) || !Number.isFinite(rough)) return [low];
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((m) => m * power).find((s) => s >= rough * 0.999);
  const ticks = [];
  for (let i = Math.ceil(low / step - 1e-9); i * step <= high + step * 1e-9 && ticks.length < 50; i++) ticks.push(i * step);
  return ticks;
}

// Powers of ten, with 2 and 5 where there is room; within less than a decade, linear ones.
function logTicks(low, high, shift, count) {
  const from = logOf(low, shift);
  const to = logOf(high, shift);
  if (to - from < 0.9) return linearTicks(low, high, count);
  const stride = Math.max(1, Math.ceil((to - from) / count));
  const within = to - from < count / 3 ? [1, 2, 5] : [1];
  const ticks = shift && low <= 0 ? [0] : [];
  for (let power = Math.floor(from); power <= to; power++) {
    if (power % stride) continue;
    for (const m of within)
      if (m * 10 ** power >= Math.max(low, shift) && m * 10 ** power <= high) ticks.push(m * 10 ** power);
  }
  return ticks;
}

// A number for people: four digits, powers of ten where it is very large or small.
function formatNumber(value, digits = 4) {
  if (Number.isNaN(value)) return "nan";
  if (!Number.isFinite(value)) return value > 0 ? "inf" : "-inf";
  const size = Math.abs(value);
  if (size !== 0 && (size < 1e-3 || size >= 1e6))
    return value
      .toExponential(digits - 1)
      .replace(/\.?0+e/, "e")
      .replace("e+", "e");
  return String(Number(value.toPrecision(Math.max(digits, size >= 1 ? Math.ceil(Math.log10(size + 1)) : 0))));
}

function formatCount(count) {
  return Math.round(count).toLocaleString("en");
}

function formatSeconds(seconds) {
  if (seconds < 60) return `${formatNumber(seconds, 3)} s`;
  return seconds < 3600
    ? `${Math.floor(seconds / 60)} min ${Math.round(seconds % 60)} s`
    : `${formatNumber(seconds / 3600, 3)} h`;
}

// Viridis (van der Walt & Smith 2015), nine of its colours: lightness rises evenly, so it is readable in grey, too.
const VIRIDIS = [
  [68, 1, 84],
  [71, 44, 122],
  [59, 81, 139],
  [44, 113, 142],
  [33, 144, 141],
  [39, 173, 129],
  [92, 200, 99],
  [170, 220, 50],
  [253, 231, 37],
];

function heatColour(share) {
  const place = Math.max(0, Math.min(1, share)) * (VIRIDIS.length - 1);
  const below = Math.min(Math.floor(place), VIRIDIS.length - 2);
  const mixed = VIRIDIS[below].map((value, i) => Math.round(value + (place - below) * (VIRIDIS[below + 1][i] - value)));
  return `rgb(${mixed})`;
}

// The first index at which the sorted array is not below the value.
function searchSorted(sorted, value) {
  let low = 0;
  let high = sorted.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (sorted[middle] < value) low = middle + 1;
    else high = middle;
  }
  return low;
}

function nearestIndex(sorted, value) {
  const after = Math.min(searchSorted(sorted, value), sorted.length - 1);
  return after > 0 && value - sorted[after - 1] <= sorted[after] - value ? after - 1 : after;
}
