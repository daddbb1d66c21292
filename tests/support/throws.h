// EXPECT_ERROR(statement, text): the statement throws hebb::Error whose message is the text.
#pragma once
#include <gtest/gtest.h>

#include <string>

#include "hebb/core/error.h"

namespace hebb::testing {

template <class F>
std::string error_of(F&& fn) {
  try {
    fn();
  } catch (const Error& e) {
    return e.what();
  }
  return "(nothing was thrown)";
}

}  // namespace hebb::testing

#define EXPECT_ERROR(statement, text) \
  EXPECT_EQ(::hebb::testing::error_of([&] { (void)(statement); }), std::string(text))
