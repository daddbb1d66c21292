// Applying a macro to each of its arguments; used by the member and field lists.
#pragma once

#define HEBB_PARENS ()
#define HEBB_EXPAND(...) HEBB_EXPAND3(HEBB_EXPAND3(HEBB_EXPAND3(HEBB_EXPAND3(__VA_ARGS__))))
#define HEBB_EXPAND3(...) HEBB_EXPAND2(HEBB_EXPAND2(HEBB_EXPAND2(HEBB_EXPAND2(__VA_ARGS__))))
#define HEBB_EXPAND2(...) HEBB_EXPAND1(HEBB_EXPAND1(HEBB_EXPAND1(HEBB_EXPAND1(__VA_ARGS__))))
#define HEBB_EXPAND1(...) __VA_ARGS__
/// HEBB_FOR_EACH(M, a, b, c) is M(a) M(b) M(c); up to 64 arguments.
#define HEBB_FOR_EACH(macro, ...) __VA_OPT__(HEBB_EXPAND(HEBB_FOR_EACH_STEP(macro, __VA_ARGS__)))
#define HEBB_FOR_EACH_STEP(macro, first, ...) \
  macro(first) __VA_OPT__(HEBB_FOR_EACH_AGAIN HEBB_PARENS(macro, __VA_ARGS__))
#define HEBB_FOR_EACH_AGAIN() HEBB_FOR_EACH_STEP
