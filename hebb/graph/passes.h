// Improvements of graphs, one at a time. Each leaves a graph that computes the same, but for rounding where
// it says so.
#pragma once
#include <span>
#include <string>

#include "hebb/graph/graph.h"

namespace hebb::graph {

/// Runs nodes whose inputs are constants, where the results are small.
void fold_constants(Graph& graph);
/// Drops calls that give what they were given, and views of views.
void simplify(Graph& graph);
/// Makes one of nodes that call the same op with the same attributes on the same values. (Random ops too:
/// they are functions of their key.)
void share_common(Graph& graph);
/// Drops nodes and constants that nothing reads.
void drop_dead(Graph& graph);

/// Makes one linear map of several whose weights are steady: factors and shifts of channels (batch
/// normalisation in evaluation) go into the convolution or linear layer before them, and linear layers that
/// follow one another become one where that is less work. Results differ by rounding.
void fold_linear(Graph& graph);
/// Max pooling before ReLU, where it stands behind it and nothing else reads what lies between: the same
/// values and gradients from a fraction of the elements.
void pool_first(Graph& graph);
/// Changes convolutions of many channels, and what lies between them, over to images [N, H, W, C], if they
/// gain more than turning costs. Sums run in another order: results differ by rounding.
void channels_last(Graph& graph);

/// Lets convolutions of few channels pool their own outputs where max pooling by 2x2 windows alone reads
/// them: what is between them never reaches memory.
void join_pool(Graph& graph);
/// Lets convolutions [N, H, W, C] and linear layers rectify their own sums where ReLU alone reads them, and
/// convolutions add what an addition and ReLU behind them add: one pass over memory less, or two.
void join_relu(Graph& graph);
/// Takes batch normalisation of rows [N, C] and its gradient apart: sums, small vectors and fused programs,
/// which can join what stands before and after them.
void split_norms(Graph& graph);
/// Lets convolutions [N, H, W, C] sum up the mean and variance of their outputs' channels, for the batch
/// normalisation behind them, while those are near: most of a pass over memory less.
void join_moments(Graph& graph);
/// Makes one fused program of elementwise ops that feed one another, and of fused programs: each value that
/// only they read never reaches memory.
void fuse(Graph& graph);
/// Runs a fused program again where its large result would wait long for its next reader, as activations wait
/// for the way back, and its input is kept anyway: less memory for one more pass over it.
void rematerialize(Graph& graph);
/// Lets matrix products, linear layers, convolutions [N, H, W, C] and their input gradients run the fused
/// program that reads what they make, on blocks of rows that are still near: a pass over memory less.
void join_programs(Graph& graph);
/// Makes one update of those of small parameters that share their options: many calls less. They then wait
/// for the last of their gradients.
void join_updates(Graph& graph);
/// Moves updates to where their gradients have been made and nothing reads the old values any more: a
/// gradient's memory serves the next ones, and it is read while it is near.
void hasten_updates(Graph& graph);

/// Whether join_programs() can join the node and a program.
bool makes_rows_for_programs(const Graph& graph, const Node& node);

/// A pass and the name by which HEBB_DISABLE_PASS switches it off.
struct Pass {
  const char* name;     ///< "simplify"
  void (*run)(Graph&);  ///< improves a graph in place
};
/// In the order in which they run.
std::span<const Pass> passes();

/// Runs all passes but those that the environment variable HEBB_DISABLE_PASS names (separated by commas;
/// Error for a name that no pass has). In debug builds each is followed by verify(). With HEBB_DUMP_GRAPH=DIR
/// the graph is written to DIR as it was traced and after each pass: NAME-2-simplify.txt, and .dot for
/// Graphviz.
void optimize(Graph& graph, const std::string& name);

namespace detail {
/// Lets every reader of one value read another: `to[v]` in place of v.
void replace_values(Graph& graph, std::span<const ValueId> to);
/// A node with new values for what the op infers.
Node new_node(Graph& graph, const OpDef& op, Attrs attrs, std::vector<ValueId> inputs,
              const std::string& module);
/// 0, 1, 2, …: each value for itself.
std::vector<ValueId> each_itself(const Graph& graph);
}  // namespace detail

}  // namespace hebb::graph
