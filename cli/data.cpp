// hebb data: what data sets there are, and what they look like.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>

#include "cli/app.h"
#include "hebb/core/check.h"
#include "hebb/data/sources.h"
#include "hebb/io/image.h"

namespace hebb::cli {
namespace {

struct DataOptions {
  std::string name, out = "samples.png";
  int count = 100;
};

int list(const App& app) {
  nlohmann::json all = nlohmann::json::array();
  for (const data::SourceInfo& s : data::list_sources()) {
    if (app.json)
      all.push_back(
          {{"name", s.name}, {"description", s.description}, {"path", s.path}, {"available", s.available}});
    else fmt::print("{:<10} {}{}\n", s.name, s.description, s.available ? "" : " (files not found)");
  }
  if (app.json) print_json({{"data", all}});
  return 0;
}

int info(const App& app, const DataOptions& o) {
  const data::Splits s = data::load_source(o.name);
  auto size = [](const std::shared_ptr<data::Dataset>& d) { return d ? d->size() : 0; };
  if (app.json) {
    print_json({{"name", s.name},
                {"input", std::vector<int64_t>(s.input.begin(), s.input.end())},
                {"classes", s.num_classes},
                {"train", size(s.train)},
                {"val", size(s.val)},
                {"test", size(s.test)},
                {"mean", s.normalization.mean},
                {"std", s.normalization.std}});
    return 0;
  }
  fmt::print("{}\n  input    {}\n  classes  {}\n  train    {}\n  val      {}\n  test     {}\n", s.name,
             s.input.str(), s.num_classes ? fmt::format("{}", s.num_classes) : "none: regression",
             size(s.train), size(s.val), size(s.test));
  if (!s.normalization.empty())
    fmt::print("  mean     {:.4f}\n  std      {:.4f}\n", fmt::join(s.normalization.mean, ", "),
               fmt::join(s.normalization.std, ", "));
  return 0;
}

// A grid of the first images, a pixel apart.
int show(const App& app, const DataOptions& o) {
  const data::Splits s = data::load_source(o.name, {.val_fraction = 0});
  HEBB_CHECK(s.input.ndim() == 3, "[data show] {}: expected images, got samples of shape {}", o.name,
             s.input.str());
  const int64_t n = std::min<int64_t>(o.count, s.train->size()), channels = s.input[0], h = s.input[1],
                w = s.input[2];
  int64_t columns = 1;
  while (columns * columns < n) ++columns;
  const int64_t rows = (n + columns - 1) / columns, height = rows * (h + 1) + 1,
                width = columns * (w + 1) + 1;
  std::vector<int64_t> first(static_cast<size_t>(n));
  for (int64_t i = 0; i < n; ++i) first[i] = i;
  const auto values = s.train->batch(first).x.to_vector<float>();
  const auto& norm = s.normalization;
  Tensor sheet = Tensor::empty({channels, height, width}, u8);
  uint8_t* out = sheet.mutable_data<uint8_t>();
  std::fill_n(out, sheet.numel(), uint8_t{96});
  for (int64_t i = 0; i < n; ++i)
    for (int64_t c = 0; c < channels; ++c) {
      const size_t k = norm.mean.size() > 1 ? static_cast<size_t>(c) : 0;
      const double mean = norm.empty() ? 0 : norm.mean[k], std = norm.empty() ? 1 : norm.std[k];
      for (int64_t y = 0; y < h; ++y)
        for (int64_t x = 0; x < w; ++x) {
          const double v = (values[((i * channels + c) * h + y) * w + x] * std + mean) * 255;
          out[(c * height + i / columns * (h + 1) + 1 + y) * width + i % columns * (w + 1) + 1 + x] =
              static_cast<uint8_t>(std::clamp(v + 0.5, 0.0, 255.0));
        }
    }
  io::save_png(o.out, sheet);
  say(app, fmt::format("wrote {} samples of {} to {}", n, s.name, o.out));
  if (app.json) print_json({{"file", o.out}, {"samples", n}, {"width", width}, {"height", height}});
  return 0;
}

}  // namespace

void add_data(App& app) {
  auto o = std::make_shared<DataOptions>();
  CLI::App* c =
      app.command("data", "Data sets: list, info, show",
                  "  hebb data list\n  hebb data info mnist\n  hebb data show mnist --out digits.png");
  c->require_subcommand(1);
  c->add_subcommand("list", "Data sets that have a name")->callback([&app] {
    app.run = [&app] { return list(app); };
  });
  CLI::App* i = c->add_subcommand("info", "Sizes, classes and normalisation of a data set");
  i->add_option("name", o->name, "A name, a folder of IDX files, or a CSV file")->required();
  i->callback([&app, o] { app.run = [&app, o] { return info(app, *o); }; });
  CLI::App* s = c->add_subcommand("show", "Write a contact sheet of the first images as PNG");
  s->add_option("name", o->name, "A name or a folder of IDX files")->required();
  s->add_option("--out", o->out, "The PNG file")->capture_default_str();
  s->add_option("--count", o->count, "Images to show")->capture_default_str()->check(CLI::Range(1, 1000000));
  s->callback([&app, o] { app.run = [&app, o] { return show(app, *o); }; });
  for (CLI::App* sub : {i, s, c->get_subcommand("list")}) sub->fallthrough();
}

}  // namespace hebb::cli
