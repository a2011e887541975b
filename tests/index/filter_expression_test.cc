#include "index/filter_expression.h"

#include <gtest/gtest.h>

#include <string>
#include <utility>
#include <vector>

#include "index/item_filter.h"
#include "nlohmann/json.hpp"

namespace dime {
namespace {

using Kind = FilterExpression::Kind;

// The comparison of a payload field with a text without wildcards.
FilterExpression Compare(std::vector<std::string> path, FilterOperator op, std::string text) {
  FilterExpression comparison{.path = std::move(path), .op = op};
  comparison.value.text = text;
  comparison.value.pieces = {text};
  try {
    size_t end = 0;
    const double number = std::stod(text, &end);
    if (end == text.size()) comparison.value.number = number;
  } catch (const std::exception&) {
  }
  return comparison;
}

bool Matches(const FilterExpression& expression, const nlohmann::json& payload) {
  return expression.Matches({.id = "item", .payload = &payload});
}

TEST(FilterExpressionTest, AndOrAndNot) {
  const FilterExpression red = Compare({"color"}, FilterOperator::kEqual, "red");
  const FilterExpression cheap = Compare({"price"}, FilterOperator::kLess, "10");
  const nlohmann::json both = {{"color", "red"}, {"price", 5}};
  const nlohmann::json dear = {{"color", "red"}, {"price", 50}};
  const FilterExpression all{.kind = Kind::kAnd, .operands = {red, cheap}};
  const FilterExpression any{.kind = Kind::kOr, .operands = {red, cheap}};
  const FilterExpression other{.kind = Kind::kNot, .operands = {cheap}};
  EXPECT_TRUE(Matches(all, both));
  EXPECT_FALSE(Matches(all, dear));
  EXPECT_TRUE(Matches(any, dear));
  EXPECT_FALSE(Matches(any, nlohmann::json::object()));
  EXPECT_FALSE(Matches(other, both));
  EXPECT_TRUE(Matches(other, dear));
}

TEST(FilterExpressionTest, PathsGoIntoObjectsAndLists) {
  const nlohmann::json payload = {{"shop", {{"city", "Rome"}}}, {"tags", {"red", "big"}}};
  EXPECT_TRUE(Matches(Compare({"shop", "city"}, FilterOperator::kEqual, "Rome"), payload));
  EXPECT_FALSE(Matches(Compare({"shop", "street"}, FilterOperator::kEqual, "Rome"), payload));
  EXPECT_FALSE(Matches(Compare({"shop"}, FilterOperator::kEqual, "Rome"), payload));
  EXPECT_TRUE(Matches(Compare({"tags"}, FilterOperator::kHas, "big"), payload));
  EXPECT_FALSE(Matches(Compare({"tags"}, FilterOperator::kHas, "small"), payload));
}

TEST(FilterExpressionTest, NumbersCompareAsNumbers) {
  const nlohmann::json payload = {{"n", 9}};
  for (const auto& [op, expected] :
       std::vector<std::pair<FilterOperator, bool>>{{FilterOperator::kLess, true},
                                                    {FilterOperator::kLessEqual, true},
                                                    {FilterOperator::kGreater, false},
                                                    {FilterOperator::kGreaterEqual, false},
                                                    {FilterOperator::kEqual, false},
                                                    {FilterOperator::kNotEqual, true}}) {
    EXPECT_EQ(Matches(Compare({"n"}, op, "10"), payload), expected) << FilterOperatorSign(op);
  }
}

TEST(FilterExpressionTest, TheCanonicalFormKnowsNoOrderOfOperands) {
  const FilterExpression a = Compare({"a"}, FilterOperator::kEqual, "1");
  const FilterExpression b = Compare({"b"}, FilterOperator::kEqual, "2");
  const auto join = [](Kind kind, std::vector<FilterExpression> operands) {
    return FilterExpression{.kind = kind, .operands = std::move(operands)}.Canonical();
  };
  EXPECT_EQ(join(Kind::kAnd, {a, b}), join(Kind::kAnd, {b, a}));
  EXPECT_NE(join(Kind::kAnd, {a, b}), join(Kind::kOr, {a, b}));
  EXPECT_NE(a.Canonical(), Compare({"a"}, FilterOperator::kNotEqual, "1").Canonical());
  // Where one part ends and the next begins is part of it.
  EXPECT_NE(Compare({"a", "b"}, FilterOperator::kEqual, "1").Canonical(),
            Compare({"a.b"}, FilterOperator::kEqual, "1").Canonical());
  FilterExpression quoted = a;
  quoted.value.quoted = true;
  EXPECT_NE(a.Canonical(), quoted.Canonical());
}

}  // namespace
}  // namespace dime
