// Declarations of every OpDef.
#pragma once
#include "hebb/op/op.h"

namespace hebb::ops {

#define HEBB_UNARY(name, ...) extern const OpDef name, name##_grad;
#define HEBB_UNARY_FLAT(name, ...) extern const OpDef name;
#define HEBB_UNARY_BOOL(name, ...) extern const OpDef name;
#define HEBB_BINARY(name, ...) extern const OpDef name;
#define HEBB_BINARY_FLAT(name, ...) extern const OpDef name;
#define HEBB_BINARY_BOOL(name, ...) extern const OpDef name;
#include "hebb/ops/elementwise.inc"

#define HEBB_OP(name) extern const OpDef name;
#include "hebb/ops/table.inc"
#undef HEBB_OP

}  // namespace hebb::ops
