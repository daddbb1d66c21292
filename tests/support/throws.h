// Errors in tests: error_of(function) is the message, EXPECT_ERROR(statement, text) compares it.
#pragma once
#include <gtest/gtest.h>

#include <string>

#include "hebb/core/error.h"

namespace hebb::test_support {

/// The text of the Error that `fn` throws; fails the test if there is none.
template <class F>
std::string error_of(F&& fn) {
  try {
    fn();
  } catch (const Error& e) {
    return e.what();
  }
  ADD_FAILURE() << "expected an Error, got none";
  return "";
}

}  // namespace hebb::test_support

#define EXPECT_ERROR(statement, text) \
  EXPECT_EQ(::hebb::test_support::error_of([&] { (void)(statement); }), std::string(text))
