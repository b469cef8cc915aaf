#include "context.h"

#include <functional>
#include <utility>

#include "arguments.h"

namespace lazy_native {

namespace {

using Method = Napi::Value (*)(Napi::Env, Session&, Arguments&);

void define(Napi::Object target, const std::shared_ptr<Session>& session, const char* name, Method method) {
  target.Set(name, Napi::Function::New(
                       target.Env(),
                       [session, method](const Napi::CallbackInfo& info) -> Napi::Value {
                         try {
                           Arguments arguments(info, *session);
                           return method(info.Env(), *session, arguments);
                         } catch (const Napi::Error&) {
                           throw;
                         } catch (...) {
                           throw toJavaScript(info.Env(), describe(std::current_exception()));
                         }
                       },
                       name));
}

// ---- storage ----

Napi::Value upload(Napi::Env env, Session& s, Arguments& a) {
  const Napi::TypedArray data = a.value().As<Napi::TypedArray>();
  const DType dtype = a.dtype();
  const auto size = static_cast<std::int64_t>(data.ElementLength());
  const auto* host = static_cast<const std::uint8_t*>(data.ArrayBuffer().Data()) + data.ByteOffset();
  auto out = s.create(size, dtype);
  if (dtype == DType::bf16 || dtype == DType::f16) {  // host data is f32
    const auto wide = s.create(size, DType::f32);
    s.upload(wide->tensor().data, host, data.ByteLength());
    s.launch(Cast{wide->tensor(), out->tensor()});
  } else {
    s.upload(out->tensor().data, host, data.ByteLength());
  }
  return wrap(env, std::move(out));
}

Napi::Value read(Napi::Env env, Session& s, Arguments& a) {
  Tensor x = a.tensor();
  std::unique_ptr<Buffer> wide;
  if (x.dtype == DType::bf16 || x.dtype == DType::f16) {
    wide = s.create(x.size, DType::f32);
    s.launch(Cast{x, wide->tensor()});
    x = wide->tensor();
  }
  const Napi::ArrayBuffer memory = Napi::ArrayBuffer::New(env, x.bytes());
  const auto length = static_cast<std::size_t>(x.size);
  const Napi::Object array = x.dtype == DType::i32
                                 ? static_cast<Napi::Object>(Napi::Int32Array::New(env, length, memory, 0))
                                 : static_cast<Napi::Object>(Napi::Float32Array::New(env, length, memory, 0));
  return s.download(env, array, Napi::ArrayBuffer(memory).Data(), x.data, x.bytes());
}

Napi::Value full(Napi::Env env, Session& s, Arguments& a) {
  const std::int64_t size = a.integer();
  const double value = a.number();
  auto out = s.create(size, a.dtype());
  s.launch(Fill{out->tensor(), value});
  return wrap(env, std::move(out));
}

Napi::Value free(Napi::Env env, Session&, Arguments& a) {
  a.buffer().free();
  return env.Undefined();
}

Napi::Value synchronize(Napi::Env env, Session& s, Arguments&) { return s.synchronize(env); }

Napi::Value dispose(Napi::Env env, Session& s, Arguments&) { return s.dispose(env); }

Napi::Value memory(Napi::Env env, Session& s, Arguments&) {
  const PoolStatistics statistics = s.closed() ? PoolStatistics{} : s.pool().statistics();
  Napi::Object out = Napi::Object::New(env);
  out.Set("inUse", static_cast<double>(statistics.inUse));
  out.Set("cached", static_cast<double>(statistics.cached));
  out.Set("peak", static_cast<double>(statistics.peak));
  out.Set("systemAllocations", static_cast<double>(statistics.systemAllocations));
  return out;
}

Napi::Value cast(Napi::Env env, Session& s, Arguments& a) {
  const Tensor x = a.tensor();
  auto out = s.create(x.size, a.dtype());
  s.launch(Cast{x, out->tensor()});
  return wrap(env, std::move(out));
}

Napi::Value slice(Napi::Env env, Session& s, Arguments& a) {
  const Tensor x = a.tensor();
  const std::int64_t outer = a.integer(), length = a.integer(), inner = a.integer(), start = a.integer(),
                     count = a.integer();
  auto out = s.create(outer * count * inner, x.dtype);
  s.launch(CopyRows{x, out->tensor(), outer, inner, count, length, start, count, 0});
  return wrap(env, std::move(out));
}

Napi::Value copyInto(Napi::Env env, Session& s, Arguments& a) {
  const Tensor target = a.tensor(), source = a.tensor();
  const std::int64_t outer = a.integer(), length = a.integer(), inner = a.integer(), start = a.integer(),
                     count = a.integer();
  s.launch(CopyRows{source, target, outer, inner, count, count, 0, length, start});
  return env.Undefined();
}

// ---- arithmetic ----

template <Binary::Kind kind>
Napi::Value binary(Napi::Env env, Session& s, Arguments& a) {
  const Tensor x = a.tensor(), y = a.tensor();
  auto out = s.create(x.size, x.dtype);
  s.launch(Binary{kind, x, y, out->tensor()});
  return wrap(env, std::move(out));
}

Napi::Value scale(Napi::Env env, Session& s, Arguments& a) {
  const Tensor x = a.tensor();
  auto out = s.create(x.size, x.dtype);
  s.launch(Scale{x, out->tensor(), a.number()});
  return wrap(env, std::move(out));
}

Napi::Value sum(Napi::Env env, Session& s, Arguments& a) {
  const Tensor x = a.tensor();
  auto out = s.create(1, DType::f32);
  s.launch(Sum{x, out->tensor()});
  return wrap(env, std::move(out));
}

Napi::Value sumGrad(Napi::Env env, Session& s, Arguments& a) {
  const Tensor dy = a.tensor();
  const std::int64_t size = a.integer();
  auto out = s.create(size, a.dtype());
  s.launch(Broadcast{dy, out->tensor()});
  return wrap(env, std::move(out));
}

std::vector<Tensor> tensors(const Napi::Value& value, const Session& s) {
  const Napi::Array array = value.As<Napi::Array>();
  std::vector<Tensor> out;
  out.reserve(array.Length());
  for (std::uint32_t i = 0; i < array.Length(); ++i) out.push_back(tensorOf(array.Get(i), s));
  return out;
}

Napi::Value sumSquares(Napi::Env env, Session& s, Arguments& a) {
  std::vector<Tensor> xs = tensors(a.value(), s);
  auto out = s.create(1, DType::f32);
  s.launch(SumSquares{std::move(xs), out->tensor()});
  return wrap(env, std::move(out));
}

Napi::Value matmul(Napi::Env env, Session& s, Arguments& a) {
  Matmul op{};
  op.a = a.tensor();
  op.b = a.tensor();
  op.out = a.optional();
  op.batch = a.integer();
  op.m = a.integer();
  op.n = a.integer();
  op.k = a.integer();
  op.transposeA = a.flag();
  op.transposeB = a.flag();
  op.accumulate = static_cast<bool>(op.out);
  if (op.accumulate) {
    s.launch(op);
    return env.Undefined();
  }
  auto out = s.create(op.batch * op.m * op.n, op.a.dtype);
  op.out = out->tensor();
  s.launch(op);
  return wrap(env, std::move(out));
}

// ---- layers ----

Napi::Value rmsNorm(Napi::Env env, Session& s, Arguments& a) {
  const Tensor x = a.tensor(), weight = a.tensor();
  auto out = s.create(x.size, x.dtype);
  s.launch(RmsNorm{x, weight, out->tensor(), x.size / weight.size, weight.size, a.number()});
  return wrap(env, std::move(out));
}

Napi::Value rmsNormGrad(Napi::Env env, Session& s, Arguments& a) {
  const Tensor dy = a.tensor(), x = a.tensor(), weight = a.tensor();
  auto dx = s.create(x.size, x.dtype);
  auto dweight = s.create(weight.size, weight.dtype);
  s.launch(RmsNormGrad{dy, x, weight, dx->tensor(), dweight->tensor(), x.size / weight.size, weight.size, a.number()});
  Napi::Object out = Napi::Object::New(env);
  out.Set("dx", wrap(env, std::move(dx)));
  out.Set("dweight", wrap(env, std::move(dweight)));
  return out;
}

Napi::Value rope(Napi::Env env, Session& s, Arguments& a) {
  Rope op{};
  op.x = a.tensor();
  op.batch = a.integer();
  op.length = a.integer();
  op.heads = a.integer();
  op.headDim = a.integer();
  op.offset = a.integer();
  op.base = a.number();
  op.inverse = a.flag();
  auto out = s.create(op.x.size, op.x.dtype);
  op.out = out->tensor();
  s.launch(op);
  return wrap(env, std::move(out));
}

AttentionInputs attentionInputs(Arguments& a) {
  AttentionInputs in{};
  in.q = a.tensor();
  in.k = a.tensor();
  in.v = a.optional();
  in.bias = a.optional();
  in.tau = a.optional();
  in.starts = a.optional();
  in.scale = a.number();
  AttentionSizes& z = in.sizes;
  for (std::int64_t* size : {&z.batch, &z.queryLength, &z.keyLength, &z.keyCapacity, &z.heads, &z.kvHeads, &z.headDim,
                             &z.window}) {
    *size = a.integer();
  }
  return in;
}

Napi::Value attention(Napi::Env env, Session& s, Arguments& a) {
  Attention op{};
  op.in = attentionInputs(a);
  const bool save = a.flag();
  auto out = s.create(op.in.q.size, op.in.q.dtype);
  op.out = out->tensor();
  Napi::Object result = Napi::Object::New(env);
  std::unique_ptr<Buffer> saved;
  const std::size_t bytes = save ? s.device().savedBytes(op.in) : 0;
  if (save) {
    saved = s.createBytes(bytes);
    op.saved = saved->tensor().data;
  }
  s.launch(op);
  result.Set("output", wrap(env, std::move(out)));
  result.Set("saved", save ? wrap(env, std::move(saved)) : env.Null());
  result.Set("savedBytes", static_cast<double>(bytes));
  return result;
}

Napi::Value attentionGrad(Napi::Env env, Session& s, Arguments& a) {
  AttentionGrad op{};
  op.in = attentionInputs(a);
  op.dout = a.tensor();
  op.out = a.tensor();
  op.saved = a.tensor().data;
  auto dq = s.create(op.in.q.size, op.in.q.dtype);
  auto dk = s.create(op.in.k.size, op.in.k.dtype);
  auto dv = s.create(op.in.v.size, op.in.v.dtype);
  auto dbias = op.in.bias ? s.create(op.in.bias.size, DType::f32) : nullptr;
  auto dtau = op.in.tau ? s.create(op.in.tau.size, DType::f32) : nullptr;
  op.dq = dq->tensor();
  op.dk = dk->tensor();
  op.dv = dv->tensor();
  if (dbias) op.dbias = dbias->tensor();
  if (dtau) op.dtau = dtau->tensor();
  s.launch(op);
  Napi::Object out = Napi::Object::New(env);
  out.Set("dq", wrap(env, std::move(dq)));
  out.Set("dk", wrap(env, std::move(dk)));
  out.Set("dv", wrap(env, std::move(dv)));
  out.Set("dbias", dbias ? wrap(env, std::move(dbias)) : env.Null());
  out.Set("dtau", dtau ? wrap(env, std::move(dtau)) : env.Null());
  return out;
}

Napi::Value attentionWeights(Napi::Env env, Session& s, Arguments& a) {
  AttentionWeights op{};
  op.in = attentionInputs(a);
  const AttentionSizes& z = op.in.sizes;
  auto out = s.create(z.batch * z.heads * z.queryLength * z.keyLength, DType::f32);
  op.out = out->tensor();
  s.launch(op);
  return wrap(env, std::move(out));
}

Napi::Value elasticSoftmax(Napi::Env env, Session& s, Arguments& a) {
  ElasticSoftmax op{};
  op.scores = a.tensor();
  op.tau = a.optional();
  op.starts = a.optional();
  op.batch = a.integer();
  op.heads = a.integer();
  op.queryLength = a.integer();
  op.keyLength = a.integer();
  auto out = s.create(op.scores.size, op.scores.dtype);
  op.out = out->tensor();
  s.launch(op);
  return wrap(env, std::move(out));
}

Napi::Value elasticSoftmaxGrad(Napi::Env env, Session& s, Arguments& a) {
  ElasticSoftmaxGrad op{};
  op.dweights = a.tensor();
  op.scores = a.tensor();
  op.tau = a.optional();
  op.starts = a.optional();
  op.batch = a.integer();
  op.heads = a.integer();
  op.queryLength = a.integer();
  op.keyLength = a.integer();
  auto dscores = s.create(op.scores.size, op.scores.dtype);
  auto dtau = op.tau ? s.create(op.tau.size, DType::f32) : nullptr;
  op.dscores = dscores->tensor();
  if (dtau) op.dtau = dtau->tensor();
  s.launch(op);
  Napi::Object out = Napi::Object::New(env);
  out.Set("dscores", wrap(env, std::move(dscores)));
  out.Set("dtau", dtau ? wrap(env, std::move(dtau)) : env.Null());
  return out;
}

Napi::Value swiglu(Napi::Env env, Session& s, Arguments& a) {
  const Tensor gate = a.tensor(), up = a.tensor();
  auto out = s.create(gate.size, gate.dtype);
  s.launch(Swiglu{gate, up, out->tensor()});
  return wrap(env, std::move(out));
}

Napi::Value swigluGrad(Napi::Env env, Session& s, Arguments& a) {
  const Tensor dy = a.tensor(), gate = a.tensor(), up = a.tensor();
  auto dgate = s.create(gate.size, gate.dtype);
  auto dup = s.create(up.size, up.dtype);
  s.launch(SwigluGrad{dy, gate, up, dgate->tensor(), dup->tensor()});
  Napi::Object out = Napi::Object::New(env);
  out.Set("dgate", wrap(env, std::move(dgate)));
  out.Set("dup", wrap(env, std::move(dup)));
  return out;
}

Napi::Value embedding(Napi::Env env, Session& s, Arguments& a) {
  const Tensor weight = a.tensor(), ids = a.tensor();
  const std::int64_t vocabulary = a.integer();
  const std::int64_t width = weight.size / vocabulary;
  auto out = s.create(ids.size * width, weight.dtype);
  s.launch(Embedding{weight, ids, out->tensor(), vocabulary, width, ids.size});
  return wrap(env, std::move(out));
}

Napi::Value embeddingGrad(Napi::Env env, Session& s, Arguments& a) {
  const Tensor dy = a.tensor(), ids = a.tensor();
  const std::int64_t vocabulary = a.integer();
  const std::int64_t width = dy.size / ids.size;
  auto dweight = s.create(vocabulary * width, dy.dtype);
  s.launch(EmbeddingGrad{dy, ids, dweight->tensor(), vocabulary, width, ids.size});
  return wrap(env, std::move(dweight));
}

Napi::Value crossEntropy(Napi::Env env, Session& s, Arguments& a) {
  const Tensor logits = a.tensor(), targets = a.tensor();
  const std::int64_t ignoreIndex = a.integer(), count = a.integer();
  auto loss = s.create(1, DType::f32);
  auto lse = s.create(targets.size, DType::f32);
  s.launch(CrossEntropy{logits, targets, loss->tensor(), lse->tensor(), targets.size, logits.size / targets.size,
                        ignoreIndex, count});
  Napi::Object out = Napi::Object::New(env);
  out.Set("loss", wrap(env, std::move(loss)));
  out.Set("lse", wrap(env, std::move(lse)));
  return out;
}

Napi::Value crossEntropyGrad(Napi::Env env, Session& s, Arguments& a) {
  const Tensor dloss = a.tensor(), logits = a.tensor(), targets = a.tensor(), lse = a.tensor();
  const std::int64_t ignoreIndex = a.integer(), count = a.integer();
  auto dlogits = s.create(logits.size, logits.dtype);
  s.launch(CrossEntropyGrad{dloss, logits, targets, lse, dlogits->tensor(), targets.size, logits.size / targets.size,
                            ignoreIndex, count});
  return wrap(env, std::move(dlogits));
}

Napi::Value adamw(Napi::Env env, Session& s, Arguments& a) {
  AdamW op{};
  const std::vector<Tensor> params = tensors(a.value(), s), grads = tensors(a.value(), s), ms = tensors(a.value(), s),
                            vs = tensors(a.value(), s);
  const Napi::Float64Array decays = a.value().As<Napi::Float64Array>();
  for (std::size_t i = 0; i < params.size(); ++i) op.updates.push_back({params[i], grads[i], ms[i], vs[i], decays[i]});
  op.learningRate = a.number();
  op.beta1 = a.number();
  op.beta2 = a.number();
  op.epsilon = a.number();
  op.correction1 = a.number();
  op.correction2 = a.number();
  op.normSquared = a.optional();
  op.maxNorm = a.number();
  s.launch(std::move(op));
  return env.Undefined();
}

constexpr std::pair<const char*, Method> methods[] = {
    {"upload", upload},
    {"read", read},
    {"full", full},
    {"free", free},
    {"synchronize", synchronize},
    {"dispose", dispose},
    {"memory", memory},
    {"cast", cast},
    {"slice", slice},
    {"copyInto", copyInto},
    {"add", binary<Binary::Kind::add>},
    {"mul", binary<Binary::Kind::mul>},
    {"scale", scale},
    {"sum", sum},
    {"sumGrad", sumGrad},
    {"sumSquares", sumSquares},
    {"matmul", matmul},
    {"rmsNorm", rmsNorm},
    {"rmsNormGrad", rmsNormGrad},
    {"rope", rope},
    {"attention", attention},
    {"attentionGrad", attentionGrad},
    {"attentionWeights", attentionWeights},
    {"elasticSoftmax", elasticSoftmax},
    {"elasticSoftmaxGrad", elasticSoftmaxGrad},
    {"swiglu", swiglu},
    {"swigluGrad", swigluGrad},
    {"embedding", embedding},
    {"embeddingGrad", embeddingGrad},
    {"crossEntropy", crossEntropy},
    {"crossEntropyGrad", crossEntropyGrad},
    {"adamw", adamw},
};

}  // namespace

Napi::Object makeContext(Napi::Env env, std::shared_ptr<Session> session) {
  Napi::Object context = Napi::Object::New(env);
  context.Set("device", session->device().describe());
  Napi::Array dtypes = Napi::Array::New(env);
  std::uint32_t count = 0;
  for (const DType dtype : session->device().dtypes()) dtypes.Set(count++, nameOf(dtype));
  context.Set("dtypes", dtypes);
  for (const auto& [name, method] : methods) define(context, session, name, method);
  return context;
}

}  // namespace lazy_native
