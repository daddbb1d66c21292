// Modules: plain structs with named members and an ordinary forward. One list of members serves parameters,
// state dict, clone, printing, freezing and the paths in errors.
#pragma once
#include <array>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "hebb/core/macros.h"
#include "hebb/graph/compile.h"

/// Names a module's members (parameters, buffers, submodules, vectors and optionals of those) once, after its
/// forward. Defines the call operator, which runs forward with the module's path at hand for errors. (So a
/// class derived from a layer that has a forward or members of its own lists all members again.)
///   struct Net : nn::Module {
///     nn::Linear fc{784, 10};
///     Tensor forward(const Tensor& x) { return fc(flatten(x, 1)); }
///     HEBB_MEMBERS(fc)
///   };
#define HEBB_MEMBERS(...)                                                            \
  HEBB_MODULE_CALLS                                                                  \
  void visit_members([[maybe_unused]] ::hebb::nn::MemberVisitor& visitor) override { \
    HEBB_FOR_EACH(HEBB_MEMBER_ITEM, __VA_ARGS__)                                     \
  }
/// What HEBB_MEMBERS gives beside the list, for containers that visit their members by hand.
#define HEBB_MODULE_CALLS                                                                                  \
  template <class... Args>                                                                                 \
  decltype(auto) operator()(Args&&... args) {                                                              \
    const ::hebb::nn::detail::CallScope scope(*this);                                                      \
    return this->forward(std::forward<Args>(args)...);                                                     \
  }                                                                                                        \
  /** A deep copy: parameters and buffers of its own. (A template, so that modules that cannot be copied   \
      compile as long as nobody clones them.) */                                                           \
  template <int = 0>                                                                                       \
  auto clone() const {                                                                                     \
    using Self = std::remove_cvref_t<decltype(*this)>;                                                     \
    static_assert(std::is_copy_constructible_v<Self>, "a member, such as a unique_ptr, cannot be copied"); \
    const ::hebb::nn::detail::CloneScope scope;                                                            \
    return Self(*this);                                                                                    \
  }                                                                                                        \
  std::unique_ptr<::hebb::nn::Module> clone_boxed() const override {                                       \
    return ::hebb::nn::detail::clone_boxed(*this);                                                         \
  }                                                                                                        \
  size_t object_size() const override { return sizeof(*this); }
#define HEBB_MEMBER_ITEM(member) ::hebb::nn::detail::visit_member(visitor, #member, member);

namespace hebb::nn {

class Module;

namespace detail {

/// Remembers where parameters live, so that one that no member list names can be found.
class Tracked {
 public:
  Tracked();
  ~Tracked();
};

/// The same of modules, for those that a list forgets.
class TrackedModule {
 public:
  TrackedModule();
  TrackedModule(const TrackedModule&) : TrackedModule() {}
  TrackedModule& operator=(const TrackedModule&) { return *this; }
  ~TrackedModule();
  /// The one in a module.
  static const void* of(const Module& m);
};

/// While it lives, copying a module copies its tensors; tensors that were shared stay shared among the
/// copies.
class CloneScope {
 public:
  CloneScope();
  ~CloneScope();
  CloneScope(const CloneScope&) = delete;
  /// The copy of `t`. Throws Error when no scope stands: modules are copied by clone() alone.
  static Tensor copy_of(const Tensor& t);
};

}  // namespace detail

/// A tensor that is trained: a leaf of the tape. Undefined when a layer goes without it (bias = false).
class Parameter : public Tensor {
 public:
  Parameter() = default;
  explicit Parameter(Tensor value) : Tensor(std::move(value)) { requires_grad_(); }
  Parameter(const Parameter& o) : Tensor(detail::CloneScope::copy_of(o)) {}
  Parameter(Parameter&& o) noexcept : Tensor(std::move(o)) {}
  Parameter& operator=(Parameter&& o) noexcept {
    Tensor::operator=(std::move(o));
    return *this;
  }
  /// The same parameter, to be held by a second module too (tied weights): `out.weight = in.weight.share()`.
  Parameter share() const {
    Parameter p;
    static_cast<Tensor&>(p) = *this;
    return p;
  }

 private:
  detail::Tracked tracked_;
};

/// State that is saved but not trained (running statistics).
class Buffer : public Tensor {
 public:
  Buffer() = default;
  explicit Buffer(Tensor value) : Tensor(std::move(value)) {}
  Buffer(const Buffer& o) : Tensor(detail::CloneScope::copy_of(o)) {}
  Buffer(Buffer&& o) noexcept : Tensor(std::move(o)) {}
  Buffer& operator=(Buffer&& o) noexcept {
    Tensor::operator=(std::move(o));
    return *this;
  }

 private:
  detail::Tracked tracked_;
};

/// Sees each member of a module, in the order of its list.
class MemberVisitor {
 public:
  virtual ~MemberVisitor() = default;
  /// A trained tensor; it may be undefined.
  virtual void parameter(std::string_view name, Parameter& p) = 0;
  /// A tensor that is saved, not trained; it may be undefined.
  virtual void buffer(std::string_view name, Buffer& b) = 0;
  /// A module inside.
  virtual void module(std::string_view name, Module& m) = 0;
};

/// Tensors by name, in the order of the member lists.
using NamedTensors = std::vector<std::pair<std::string, Tensor>>;

/// Base of all layers and networks.
class Module {
 public:
  virtual ~Module() = default;

  /// Whether the module is being trained (dropout drops, batch norm uses batch statistics).
  bool is_training() const { return training_; }
  /// Sets the mode of this module and all inside it.
  void train(bool on = true);
  /// Sets evaluation mode: train(false).
  void eval() { train(false); }

  /// All parameters, in the order of the member lists; one that is shared appears once.
  std::vector<Tensor> parameters();
  /// With their paths, "block1.conv.weight".
  NamedTensors named_parameters();
  /// Buffers with their paths, "bn.running_mean".
  NamedTensors named_buffers();
  /// Parameters and buffers with PyTorch's names. The handles are live: assign_ to them changes the module.
  NamedTensors state_dict();
  /// Assigns values to parameters and buffers. All names must match unless `strict` is false; shapes always
  /// must. Throws Error that lists every missing, unexpected and wrongly shaped name; nothing is assigned
  /// then.
  void load_state_dict(const NamedTensors& values, bool strict = true);

  /// Turns gradients of all parameters on or off (freezing).
  void requires_grad_(bool on);
  /// Forgets the gradients of all parameters.
  void zero_grad();
  /// Converts parameters and floating buffers to another element type, in place: an optimizer that holds them
  /// goes on with them. Gradients are forgotten.
  void to(DType dtype);
  /// Parameters, buffers and the mode of each module, for compile().
  operator CompiledState();
  /// Number of trained values.
  int64_t num_parameters();

  /// The name of the class without namespaces.
  std::string type_name() const;
  /// What stands between the parentheses when the module is printed.
  virtual std::string extra_repr() const { return ""; }
  /// The module and all inside it, as PyTorch prints it.
  std::string str();

  // Made by HEBB_MEMBERS.
  /// Shows each member to the visitor, in the order of the list.
  virtual void visit_members(MemberVisitor& visitor) = 0;
  /// A deep copy of whatever class this is.
  virtual std::unique_ptr<Module> clone_boxed() const = 0;
  /// Bytes of the object itself, for the check that finds parameters that no list names.
  virtual size_t object_size() const = 0;

 protected:
  Module() = default;
  Module(const Module& o) : training_(o.training_) {}
  Module(Module&& o) noexcept : training_(o.training_) {}
  Module& operator=(const Module&) = delete;
  Module& operator=(Module&&) = default;

 private:
  friend class detail::TrackedModule;
  bool training_ = true;
  detail::TrackedModule tracked_;
};

/// Evaluation mode for a module and all inside it while it lives; then each is back in the mode it was in.
class EvalScope {
 public:
  explicit EvalScope(Module& m);
  ~EvalScope();
  EvalScope(const EvalScope&) = delete;

 private:
  std::vector<std::pair<Module*, bool>> modes_;
};

/// Writes m.str().
std::ostream& operator<<(std::ostream& out, Module& m);

namespace detail {

/// A module's place on the stack of running calls, from which errors learn the path.
class CallScope {
 public:
  explicit CallScope(Module& m);
  ~CallScope();
  CallScope(const CallScope&) = delete;
};
/// The path of the innermost running module, "LeNet.conv1"; empty outside any.
std::string call_path();

/// Called as each module's call begins and ends; for summaries and statistics. One observer a thread.
struct CallObserver {
  virtual ~CallObserver() = default;
  virtual void enter(Module& m) = 0;
  virtual void leave(Module& m) = 0;
};
class ObserverScope {
 public:
  explicit ObserverScope(CallObserver& o);
  ~ObserverScope();
  ObserverScope(const ObserverScope&) = delete;

 private:
  CallObserver* previous_;
};

template <class T>
concept IsModule = std::is_base_of_v<Module, T>;

inline void visit_member(MemberVisitor& v, std::string_view name, Parameter& p) { v.parameter(name, p); }
inline void visit_member(MemberVisitor& v, std::string_view name, Buffer& b) { v.buffer(name, b); }
template <IsModule M>
void visit_member(MemberVisitor& v, std::string_view name, M& m) {
  v.module(name, m);
}
template <class T>
void visit_member(MemberVisitor& v, std::string_view name, std::optional<T>& o) {
  if (o) visit_member(v, name, *o);
}
template <class T>
void visit_member(MemberVisitor& v, std::string_view name, std::unique_ptr<T>& p) {
  if (p) visit_member(v, name, *p);
}
/// Elements of vectors and arrays are called "name.0", "name.1", …
template <class List>
requires requires(List& l) { l.begin(), l.end(); }
void visit_member(MemberVisitor& v, std::string_view name, List& list) {
  size_t i = 0;
  for (auto& element : list) visit_member(v, std::string(name) + "." + std::to_string(i++), element);
}

[[noreturn]] void not_copyable(const Module& m);

template <class M>
std::unique_ptr<Module> clone_boxed(const M& m) {
  if constexpr (std::is_copy_constructible_v<M>) {
    const CloneScope scope;
    return std::unique_ptr<Module>(new M(m));  // lighter to compile than make_unique
  } else {
    not_copyable(m);
  }
}

}  // namespace detail
}  // namespace hebb::nn
