#include "hebb/ops/table.h"

namespace hebb {
namespace {

const OpDef* const kTable[] = {
#define HEBB_UNARY(name, ...) &ops::name, &ops::name##_grad,
#define HEBB_UNARY_FLAT(name, ...) &ops::name,
#define HEBB_UNARY_BOOL(name, ...) &ops::name,
#define HEBB_BINARY(name, ...) &ops::name,
#define HEBB_BINARY_FLAT(name, ...) &ops::name,
#define HEBB_BINARY_BOOL(name, ...) &ops::name,
#include "hebb/ops/elementwise.inc"
#define HEBB_OP(name) &ops::name,
#include "hebb/ops/table.inc"
#undef HEBB_OP
};

}  // namespace

std::span<const OpDef* const> op_table() { return kTable; }

}  // namespace hebb
