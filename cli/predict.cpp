// hebb predict: what a trained network says to pictures and arrays.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "cli/app.h"
#include "hebb/autograd/grad.h"
#include "hebb/core/check.h"
#include "hebb/io/csv.h"
#include "hebb/io/digits.h"
#include "hebb/io/image.h"
#include "hebb/io/npy.h"
#include "hebb/ops/elementwise.h"
#include "hebb/ops/join.h"
#include "hebb/ops/norm.h"
#include "hebb/ops/view.h"
#include "hebb/train/losses.h"
#include "hebb/train/run.h"

namespace hebb::cli {
namespace {

struct PredictOptions {
  std::vector<std::string> words;  // RUN INPUT…, or INPUT… with --recipe and --weights
  std::string recipe, weights, out;
  int64_t top = 3;
};

// Samples, and what to call each.
struct Inputs {
  std::vector<std::string> names;
  Tensor x;
};

// Whether the network learnt handwritten digits: from MNIST by name, or from files whose pixels have its mean
// and spread (0.1307 and 0.3081; Fashion-MNIST's are 0.286 and 0.353).
bool is_of_digits(const train::LoadedRun& run) {
  if (run.recipe.input != Shape{1, 28, 28}) return false;
  if (run.recipe.data.name == "mnist") return true;
  const data::Normalization& n = run.normalization;
  return run.class_names.size() == 10 && n.mean.size() == 1 && n.std.size() == 1 &&
         std::abs(n.mean[0] - 0.1307) < 0.01 && std::abs(n.std[0] - 0.3081) < 0.01;
}

// A picture as u8 [C, H, W] of the network's input; a digit is brought to the form of MNIST's.
Tensor load_picture(const std::string& path, const train::LoadedRun& run) {
  const Shape& input = run.recipe.input;
  HEBB_CHECK(input.ndim() == 3 && (input[0] == 1 || input[0] == 3),
             "{}: expected a network that takes pictures [1 or 3, H, W], this one takes {}", path,
             input.str());
  Tensor image = io::load_image(path);
  if (input[0] == 1) image = io::to_gray(image);
  else if (image.size(0) == 1) image = contiguous(expand(image, {3, image.size(1), image.size(2)}));
  if (is_of_digits(run)) {
    try {
      return io::prepare_digit(image);
    } catch (const Error& e) {
      throw Error(fmt::format("{}: {}", path, e.what()));
    }
  }
  return io::resize_bilinear(image, input[1], input[2]);
}

// The rows of a CSV file as the network was trained on them: normalised, and without the column of targets,
// if the file has one.
Tensor load_rows(const std::string& path, const train::LoadedRun& run) {
  const Shape& input = run.recipe.input;
  HEBB_CHECK(input.ndim() == 1, "{}: expected a network that takes rows of numbers, this one takes {}", path,
             input.str());
  const io::CsvTable table = io::load_csv(path);
  Tensor x = to(table.values, f32);
  const auto columns = static_cast<int64_t>(table.columns.size());
  if (columns == input[0] + 1) {
    const auto named = std::find(table.columns.begin(), table.columns.end(), run.recipe.data.target);
    const int64_t target = named == table.columns.end() ? columns - 1 : named - table.columns.begin();
    x = cat({slice(x, 1, 0, target), slice(x, 1, target + 1, columns)}, 1);
  }
  HEBB_CHECK(x.size(0) > 0 && x.size(1) == input[0],
             "{}: expected rows of {} numbers (and maybe the target), got {} rows of {}", path, input[0],
             x.size(0), columns);
  return data::normalize(x, run.normalization);
}

// A batch of samples as the network takes them, or of pixels.
Tensor load_batch(const std::string& path, const train::LoadedRun& run) {
  const Tensor x = io::load_npy(path);
  Shape sample = x.shape();
  HEBB_CHECK(x.ndim() > 0, "{}: expected a batch, an array of shape [N, ...], got a single number", path);
  sample.erase(0);
  HEBB_CHECK(sample == run.recipe.input, "{}: expected an array of shape Nx{}, got {}", path,
             run.recipe.input.str(), x.shape().str());
  const DType wanted = run.recipe.input_dtype();
  HEBB_CHECK(x.dtype() == u8 || is_float(x.dtype()) || x.dtype() == wanted,
             "{}: expected {} (as the network takes them) or u8 (pixels), got {}", path, name_of(wanted),
             name_of(x.dtype()));
  HEBB_CHECK(x.shape()[0] > 0, "{}: expected at least one sample, got {}", path, x.shape().str());
  return x.dtype() == u8 && wanted == f32 ? data::normalize(x, run.normalization) : to(x, wanted);
}

Inputs load_inputs(const std::vector<std::string>& paths, train::LoadedRun& run) {
  Inputs all;
  std::vector<Tensor> parts;
  for (const std::string& path : paths) {
    const bool batch = path.ends_with(".npy"), rows = path.ends_with(".csv");
    if (batch || rows) {
      parts.push_back(batch ? load_batch(path, run) : load_rows(path, run));
      for (int64_t i = 0; i < parts.back().size(0); ++i) all.names.push_back(fmt::format("{}[{}]", path, i));
    } else {
      const Tensor picture = load_picture(path, run);
      if (run.normalization.empty()) run.normalization = train::load_data(run.recipe).normalization;
      parts.push_back(data::normalize(unsqueeze(picture, 0), run.normalization));
      all.names.push_back(path);
    }
  }
  all.x = cat(parts, 0);
  return all;
}

Tensor forward(train::LoadedRun& run, const Tensor& x) {
  const NoGrad no_grad;
  std::vector<Tensor> outputs;
  for (const Tensor& batch : split(x, 500)) outputs.push_back(run.net({&batch, 1}));
  return cat(outputs, 0);
}

struct Guess {
  std::string label;
  double probability;
};

// The most probable classes of one sample, best first.
std::vector<Guess> guesses(std::span<const double> probabilities, int64_t top,
                           const std::vector<std::string>& names) {
  std::vector<size_t> order(probabilities.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::stable_sort(order.begin(), order.end(),
                   [&](size_t a, size_t b) { return probabilities[a] > probabilities[b]; });
  order.resize(std::min(order.size(), static_cast<size_t>(top)));
  std::vector<Guess> out;
  for (const size_t c : order)
    out.push_back({c < names.size() ? names[c] : std::to_string(c), probabilities[c]});
  return out;
}

int run(const App& app, const PredictOptions& o) {
  const bool from_run = o.recipe.empty();
  train::LoadedRun run = from_run ? train::load_run(o.words[0]) : train::load_run(o.recipe, o.weights);
  const Inputs inputs = load_inputs({o.words.begin() + (from_run ? 1 : 0), o.words.end()}, run);
  const Tensor output = forward(run, inputs.x);
  if (!o.out.empty()) {
    io::save_npy(o.out, output);
    say(app, fmt::format("wrote outputs {} to {}", output.shape().str(), o.out));
  }

  const train::Task task = train::task_of(run.recipe.loss.type, run.classifies);
  const bool classes = task == train::Task::classes && output.ndim() == 2,
             binary = task == train::Task::binary;
  Tensor probabilities;  // [N, classes]
  if (classes) probabilities = softmax(to(output, f64), 1);
  if (binary) {
    const Tensor p = sigmoid(reshape(to(output, f64), {-1, 1}));
    probabilities = cat({1.0 - p, p}, 1);
  }
  nlohmann::json all = nlohmann::json::array();
  for (size_t i = 0; i < inputs.names.size(); ++i) {
    const auto n = static_cast<int64_t>(i);
    nlohmann::json one = {{"input", inputs.names[i]}};
    std::string line = inputs.names[i] + ":";
    if (classes || binary) {
      one["top"] = nlohmann::json::array();
      for (const Guess& g :
           guesses(select(probabilities, 0, n).to_vector<double>(), o.top, run.class_names)) {
        one["top"].push_back({{"class", g.label}, {"probability", number(g.probability)}});
        line += fmt::format("  {} {:.2f} %", g.label, g.probability * 100);
      }
    } else {
      const auto values = flatten(select(output, 0, n)).to_vector<double>();
      one["output"] = values;
      for (size_t k = 0; k < std::min<size_t>(values.size(), 8); ++k)
        line += fmt::format("  {:.6g}", values[k]);
      if (values.size() > 8) line += fmt::format("  … ({} values)", values.size());
    }
    if (app.json) all.push_back(std::move(one));
    else fmt::print("{}\n", line);
  }
  if (app.json) print_json({{"predictions", all}});
  return 0;
}

}  // namespace

void add_predict(App& app) {
  auto o = std::make_shared<PredictOptions>();
  CLI::App* c = app.command("predict", "Classify pictures, or run arrays through a network",
                            "  hebb predict runs/mine digit.png\n"
                            "  hebb predict runs/mine x.npy --out y.npy\n"
                            "  hebb predict --recipe net.toml --weights net.safetensors x.npy --out y.npy");
  c->add_option(
       "words", o->words,
       "RUN INPUT...: a run's folder, and PNG or JPEG files (digits in either polarity), CSV files, or .npy "
       "batches: floats as the network takes them, u8 as pixels")
      ->required()
      ->type_name("RUN INPUT...");
  CLI::Option* recipe = c->add_option("--recipe", o->recipe, "In place of RUN: a recipe, with --weights");
  CLI::Option* weights =
      c->add_option("--weights", o->weights, "Weights of the recipe's network (.safetensors)");
  recipe->needs(weights);
  weights->needs(recipe);
  c->add_option("--top", o->top, "Classes to show")->capture_default_str()->check(CLI::Range(1, 1000000));
  c->add_option("--out", o->out, "Write the network's outputs (before softmax) to this .npy file");
  c->callback([&app, o] {
    if (o->recipe.empty() && o->words.size() < 2) throw CLI::RequiredError("INPUT");
    app.run = [&app, o] { return run(app, *o); };
  });
}

}  // namespace hebb::cli
