// One function per op of lazy_native/ops.h, made of its fields.
#include <cstring>
#include <utility>

#include "context.h"

namespace lazy_native {

namespace {

template <class Op>
napi_value launch(napi_env env, Session& session, Arguments& arguments, NewBuffer* outputs) {
  Op op{};
  Read fields(session, arguments, outputs);
  op.fields(fields);
  session.launch(std::move(op));
  return fields.results(env);
}

template <class Op>
OpDescription describe(const char* name) {
  OpDescription description{name, launch<Op>, {}};
  Op{}.fields(description.signature);
  return description;
}

}  // namespace

const std::vector<OpDescription>& allOps() {
#define LAZY_DESCRIBE(name, Op) describe<Op>(#name),
  static const std::vector<OpDescription> ops = {LAZY_OPS(LAZY_DESCRIBE) LAZY_FUSED_OPS(LAZY_DESCRIBE)};
#undef LAZY_DESCRIBE
  return ops;
}

bool offers(const Device& device, const OpDescription& op) {
#define LAZY_ASK(fused, Op) \
  if (std::strcmp(op.name, #fused) == 0) return device.offers(FusedOp::fused);
  LAZY_FUSED_OPS(LAZY_ASK)
#undef LAZY_ASK
  return true;
}

}  // namespace lazy_native
