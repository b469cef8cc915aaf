#include "context.h"

#include <memory>
#include <utility>

#include "arguments.h"
#include "lazy_native/addon.h"

namespace lazy_native {

namespace {

using Method = Napi::Value (*)(Napi::Env, Session&, Arguments&);

// What a function of the context was made with.
struct Binding {
  std::shared_ptr<Session> session;
  const char* name;
  Method method;
};

// Every call comes in here. An error leaves as core's class for it.
napi_value call(napi_env env, napi_callback_info info) {
  void* data = nullptr;
  Arguments arguments(env, info, &data);
  const Binding& binding = *static_cast<Binding*>(data);
  Session& session = *binding.session;
  try {
    session.takeFreed();
    return binding.method(env, session, arguments);
  } catch (...) {
    throwIntoJavaScript(session.errorOf(), binding.name, std::current_exception());
  }
  return nullptr;
}

void define(Napi::Object target, const std::shared_ptr<Session>& session, const char* name, Method method) {
  const napi_env env = target.Env();
  auto binding = std::make_unique<Binding>(Binding{session, name, method});
  napi_value function = nullptr;
  napi_create_function(env, name, NAPI_AUTO_LENGTH, call, binding.get(), &function);
  const auto drop = [](napi_env, void* data, void*) { delete static_cast<Binding*>(data); };
  napi_add_finalizer(env, function, binding.release(), drop, nullptr, nullptr);
  target.Set(name, Napi::Value(env, function));
}

Napi::Value numberOf(Napi::Env env, NewBuffer& buffer) {
  napi_value number = nullptr;
  napi_create_int32(env, buffer.release(), &number);
  return {env, number};
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
    s.upload(wide.tensor().data, host, data.ByteLength());
    s.launch(Cast{wide.tensor(), out.tensor()});
  } else {
    s.upload(out.tensor().data, host, data.ByteLength());
  }
  return numberOf(env, out);
}

Napi::Value read(Napi::Env env, Session& s, Arguments& a) {
  Tensor x = a.tensor(s);
  NewBuffer wide;
  if (x.dtype == DType::bf16 || x.dtype == DType::f16) {
    wide = s.create(x.size, DType::f32);
    s.launch(Cast{x, wide.tensor()});
    x = wide.tensor();
  }
  const Napi::ArrayBuffer memory = Napi::ArrayBuffer::New(env, x.bytes());
  const auto length = static_cast<std::size_t>(x.size);
  const Napi::Object array = x.dtype == DType::i32
                                 ? static_cast<Napi::Object>(Napi::Int32Array::New(env, length, memory, 0))
                                 : static_cast<Napi::Object>(Napi::Float32Array::New(env, length, memory, 0));
  return s.download(env, "read", array, Napi::ArrayBuffer(memory).Data(), x.data, x.bytes());
}

Napi::Value full(Napi::Env env, Session& s, Arguments& a) {
  const std::int64_t size = a.integer();
  const double value = a.number();
  auto out = s.create(size, a.dtype());
  s.launch(Fill{out.tensor(), value});
  return numberOf(env, out);
}

// What is listed as freed has been taken by now, as before every call.
Napi::Value collect(Napi::Env env, Session&, Arguments&) { return env.Undefined(); }

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
  const Tensor x = a.tensor(s);
  auto out = s.create(x.size, a.dtype());
  s.launch(Cast{x, out.tensor()});
  return numberOf(env, out);
}

Napi::Value slice(Napi::Env env, Session& s, Arguments& a) {
  const Tensor x = a.tensor(s);
  const std::int64_t outer = a.integer(), length = a.integer(), inner = a.integer(), start = a.integer(),
                     count = a.integer();
  auto out = s.create(outer * count * inner, x.dtype);
  s.launch(CopyRows{x, out.tensor(), outer, inner, count, length, start, count, 0});
  return numberOf(env, out);
}

Napi::Value copyInto(Napi::Env env, Session& s, Arguments& a) {
  const Tensor target = a.tensor(s), source = a.tensor(s);
  const std::int64_t outer = a.integer(), length = a.integer(), inner = a.integer(), start = a.integer(),
                     count = a.integer();
  s.launch(CopyRows{source, target, outer, inner, count, count, 0, length, start});
  return env.Undefined();
}

// ---- arithmetic ----

template <Binary::Kind kind>
Napi::Value binary(Napi::Env env, Session& s, Arguments& a) {
  const Tensor x = a.tensor(s), y = a.tensor(s);
  auto out = s.create(x.size, x.dtype);
  s.launch(Binary{kind, x, y, out.tensor()});
  return numberOf(env, out);
}

Napi::Value scale(Napi::Env env, Session& s, Arguments& a) {
  const Tensor x = a.tensor(s);
  auto out = s.create(x.size, x.dtype);
  s.launch(Scale{x, out.tensor(), a.number()});
  return numberOf(env, out);
}

Napi::Value sum(Napi::Env env, Session& s, Arguments& a) {
  const Tensor x = a.tensor(s);
  auto out = s.create(1, DType::f32);
  s.launch(Sum{x, out.tensor()});
  return numberOf(env, out);
}

Napi::Value sumGrad(Napi::Env env, Session& s, Arguments& a) {
  const Tensor dy = a.tensor(s);
  const std::int64_t size = a.integer();
  auto out = s.create(size, a.dtype());
  s.launch(Broadcast{dy, out.tensor()});
  return numberOf(env, out);
}

Napi::Value sumSquares(Napi::Env env, Session& s, Arguments& a) {
  std::vector<Tensor> xs = a.tensors(s);
  auto out = s.create(1, DType::f32);
  s.launch(SumSquares{std::move(xs), out.tensor()});
  return numberOf(env, out);
}

Napi::Value matmul(Napi::Env env, Session& s, Arguments& a) {
  Matmul op{};
  op.a = a.tensor(s);
  op.b = a.tensor(s);
  op.out = a.optional(s);
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
  op.out = out.tensor();
  s.launch(op);
  return numberOf(env, out);
}

// ---- layers ----

Napi::Value rmsNorm(Napi::Env env, Session& s, Arguments& a) {
  const Tensor x = a.tensor(s), weight = a.tensor(s);
  auto out = s.create(x.size, x.dtype);
  s.launch(RmsNorm{x, weight, out.tensor(), x.size / weight.size, weight.size, a.number()});
  return numberOf(env, out);
}

Napi::Value rmsNormGrad(Napi::Env env, Session& s, Arguments& a) {
  const Tensor dy = a.tensor(s), x = a.tensor(s), weight = a.tensor(s);
  auto dx = s.create(x.size, x.dtype);
  auto dweight = s.create(weight.size, weight.dtype);
  s.launch(RmsNormGrad{dy, x, weight, dx.tensor(), dweight.tensor(), x.size / weight.size, weight.size, a.number()});
  s.giveOut({&dx, &dweight});
  return env.Undefined();
}

Napi::Value rope(Napi::Env env, Session& s, Arguments& a) {
  Rope op{};
  op.x = a.tensor(s);
  op.batch = a.integer();
  op.length = a.integer();
  op.heads = a.integer();
  op.headDim = a.integer();
  op.offset = a.integer();
  op.base = a.number();
  op.inverse = a.flag();
  auto out = s.create(op.x.size, op.x.dtype);
  op.out = out.tensor();
  s.launch(op);
  return numberOf(env, out);
}

AttentionInputs attentionInputs(const Session& s, Arguments& a) {
  AttentionInputs in{};
  in.q = a.tensor(s);
  in.k = a.tensor(s);
  in.v = a.optional(s);
  in.bias = a.optional(s);
  in.tau = a.optional(s);
  in.starts = a.optional(s);
  in.scale = a.number();
  AttentionSizes& z = in.sizes;
  for (std::int64_t* size :
       {&z.batch, &z.queryLength, &z.keyLength, &z.keyCapacity, &z.heads, &z.kvHeads, &z.headDim, &z.window}) {
    *size = a.integer();
  }
  return in;
}

Napi::Value attention(Napi::Env env, Session& s, Arguments& a) {
  Attention op{};
  op.in = attentionInputs(s, a);
  const bool save = a.flag();
  auto out = s.create(op.in.q.size, op.in.q.dtype);
  op.out = out.tensor();
  NewBuffer saved;
  const std::size_t bytes = save ? s.device().savedBytes(op.in) : 0;
  if (save) {
    saved = s.createBytes(bytes);
    op.saved = saved.tensor().data;
  }
  s.launch(op);
  s.giveOut({&out, &saved}, bytes);
  return env.Undefined();
}

Napi::Value attentionGrad(Napi::Env env, Session& s, Arguments& a) {
  AttentionGrad op{};
  op.in = attentionInputs(s, a);
  op.dout = a.tensor(s);
  op.out = a.tensor(s);
  op.saved = a.tensor(s).data;
  auto dq = s.create(op.in.q.size, op.in.q.dtype);
  auto dk = s.create(op.in.k.size, op.in.k.dtype);
  auto dv = s.create(op.in.v.size, op.in.v.dtype);
  auto dbias = op.in.bias ? s.create(op.in.bias.size, DType::f32) : NewBuffer();
  auto dtau = op.in.tau ? s.create(op.in.tau.size, DType::f32) : NewBuffer();
  op.dq = dq.tensor();
  op.dk = dk.tensor();
  op.dv = dv.tensor();
  if (op.in.bias) op.dbias = dbias.tensor();
  if (op.in.tau) op.dtau = dtau.tensor();
  s.launch(op);
  s.giveOut({&dq, &dk, &dv, &dbias, &dtau});
  return env.Undefined();
}

Napi::Value attentionWeights(Napi::Env env, Session& s, Arguments& a) {
  AttentionWeights op{};
  op.in = attentionInputs(s, a);
  const AttentionSizes& z = op.in.sizes;
  auto out = s.create(z.batch * z.heads * z.queryLength * z.keyLength, DType::f32);
  op.out = out.tensor();
  s.launch(op);
  return numberOf(env, out);
}

Napi::Value elasticSoftmax(Napi::Env env, Session& s, Arguments& a) {
  ElasticSoftmax op{};
  op.scores = a.tensor(s);
  op.tau = a.optional(s);
  op.starts = a.optional(s);
  op.batch = a.integer();
  op.heads = a.integer();
  op.queryLength = a.integer();
  op.keyLength = a.integer();
  auto out = s.create(op.scores.size, op.scores.dtype);
  op.out = out.tensor();
  s.launch(op);
  return numberOf(env, out);
}

Napi::Value elasticSoftmaxGrad(Napi::Env env, Session& s, Arguments& a) {
  ElasticSoftmaxGrad op{};
  op.dweights = a.tensor(s);
  op.scores = a.tensor(s);
  op.tau = a.optional(s);
  op.starts = a.optional(s);
  op.batch = a.integer();
  op.heads = a.integer();
  op.queryLength = a.integer();
  op.keyLength = a.integer();
  auto dscores = s.create(op.scores.size, op.scores.dtype);
  auto dtau = op.tau ? s.create(op.tau.size, DType::f32) : NewBuffer();
  op.dscores = dscores.tensor();
  if (op.tau) op.dtau = dtau.tensor();
  s.launch(op);
  s.giveOut({&dscores, &dtau});
  return env.Undefined();
}

Napi::Value swiglu(Napi::Env env, Session& s, Arguments& a) {
  const Tensor gate = a.tensor(s), up = a.tensor(s);
  auto out = s.create(gate.size, gate.dtype);
  s.launch(Swiglu{gate, up, out.tensor()});
  return numberOf(env, out);
}

Napi::Value swigluGrad(Napi::Env env, Session& s, Arguments& a) {
  const Tensor dy = a.tensor(s), gate = a.tensor(s), up = a.tensor(s);
  auto dgate = s.create(gate.size, gate.dtype);
  auto dup = s.create(up.size, up.dtype);
  s.launch(SwigluGrad{dy, gate, up, dgate.tensor(), dup.tensor()});
  s.giveOut({&dgate, &dup});
  return env.Undefined();
}

Napi::Value embedding(Napi::Env env, Session& s, Arguments& a) {
  const Tensor weight = a.tensor(s), ids = a.tensor(s);
  const std::int64_t vocabulary = a.integer();
  const std::int64_t width = weight.size / vocabulary;
  auto out = s.create(ids.size * width, weight.dtype);
  s.launch(Embedding{weight, ids, out.tensor(), vocabulary, width, ids.size});
  return numberOf(env, out);
}

Napi::Value embeddingGrad(Napi::Env env, Session& s, Arguments& a) {
  const Tensor dy = a.tensor(s), ids = a.tensor(s);
  const std::int64_t vocabulary = a.integer();
  const std::int64_t width = dy.size / ids.size;
  auto dweight = s.create(vocabulary * width, dy.dtype);
  s.launch(EmbeddingGrad{dy, ids, dweight.tensor(), vocabulary, width, ids.size});
  return numberOf(env, dweight);
}

Napi::Value crossEntropy(Napi::Env env, Session& s, Arguments& a) {
  const Tensor logits = a.tensor(s), targets = a.tensor(s);
  const std::int64_t ignoreIndex = a.integer(), count = a.integer();
  auto loss = s.create(1, DType::f32);
  auto lse = s.create(targets.size, DType::f32);
  s.launch(CrossEntropy{logits, targets, loss.tensor(), lse.tensor(), targets.size, logits.size / targets.size,
                        ignoreIndex, count});
  s.giveOut({&loss, &lse});
  return env.Undefined();
}

Napi::Value crossEntropyGrad(Napi::Env env, Session& s, Arguments& a) {
  const Tensor dloss = a.tensor(s), logits = a.tensor(s), targets = a.tensor(s), lse = a.tensor(s);
  const std::int64_t ignoreIndex = a.integer(), count = a.integer();
  auto dlogits = s.create(logits.size, logits.dtype);
  s.launch(CrossEntropyGrad{dloss, logits, targets, lse, dlogits.tensor(), targets.size, logits.size / targets.size,
                            ignoreIndex, count});
  return numberOf(env, dlogits);
}

Napi::Value decoderLayer(Napi::Env env, Session& s, Arguments& a) {
  DecoderLayer op{};
  for (Tensor* tensor : {&op.x, &op.keys, &op.values}) *tensor = a.tensor(s);
  for (Tensor* tensor : {&op.bias, &op.tau, &op.starts}) *tensor = a.optional(s);
  for (Tensor* tensor : {&op.attentionNorm, &op.q, &op.k, &op.v, &op.o, &op.mlpNorm, &op.gate, &op.up, &op.down}) {
    *tensor = a.tensor(s);
  }
  for (std::int64_t* size : {&op.batch, &op.length, &op.width, &op.capacity, &op.heads, &op.kvHeads, &op.headDim,
                             &op.inner, &op.window, &op.position}) {
    *size = a.integer();
  }
  op.epsilon = a.number();
  op.ropeBase = a.number();
  s.launch(op);
  return env.Undefined();
}

Napi::Value decode(Napi::Env env, Session& s, Arguments& a) {
  Decode op{};
  op.tokens = a.tensor(s);
  op.starts = a.optional(s);
  for (Tensor* tensor : {&op.embeddings, &op.norm, &op.head}) *tensor = a.tensor(s);
  const std::vector<Tensor> operands = a.tensors(s);
  DecoderLayer layer{};
  layer.length = 1;
  for (std::int64_t* size : {&layer.batch, &layer.width, &layer.capacity, &layer.heads, &layer.kvHeads, &layer.headDim,
                             &layer.inner, &layer.window, &op.vocabulary, &op.steps, &layer.position}) {
    *size = a.integer();
  }
  layer.epsilon = a.number();
  layer.ropeBase = a.number();
  op.temperature = a.number();
  op.topK = a.integer();
  op.topP = a.number();
  const Napi::Float64Array uniforms = a.value().As<Napi::Float64Array>();
  op.uniforms.assign(uniforms.Data(), uniforms.Data() + uniforms.ElementLength());
  auto operand = operands.begin();
  while (operand != operands.end()) {
    for (Tensor* tensor : {&layer.keys, &layer.values, &layer.bias, &layer.tau, &layer.attentionNorm, &layer.q,
                           &layer.k, &layer.v, &layer.o, &layer.mlpNorm, &layer.gate, &layer.up, &layer.down}) {
      *tensor = *operand++;
    }
    op.layers.push_back(layer);
  }
  auto out = s.create(op.steps * layer.batch, DType::i32);
  op.out = out.tensor();
  s.launch(std::move(op));
  return numberOf(env, out);
}

Napi::Value adamw(Napi::Env env, Session& s, Arguments& a) {
  AdamW op{};
  const std::vector<Tensor> params = a.tensors(s), grads = a.tensors(s), ms = a.tensors(s), vs = a.tensors(s);
  const Napi::Float64Array decays = a.value().As<Napi::Float64Array>();
  for (std::size_t i = 0; i < params.size(); ++i) op.updates.push_back({params[i], grads[i], ms[i], vs[i], decays[i]});
  op.learningRate = a.number();
  op.beta1 = a.number();
  op.beta2 = a.number();
  op.epsilon = a.number();
  op.correction1 = a.number();
  op.correction2 = a.number();
  op.normSquared = a.optional(s);
  op.maxNorm = a.number();
  s.launch(std::move(op));
  return env.Undefined();
}

constexpr std::pair<const char*, Method> methods[] = {
    {"upload", upload},
    {"read", read},
    {"full", full},
    {"collect", collect},
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
  context.Set("outputs", session->outputs());
  context.Set("freed", session->freed());
  for (const auto& [name, method] : methods) define(context, session, name, method);
  if (session->device().fusesDecoderLayer()) define(context, session, "decoderLayer", decoderLayer);
  if (session->device().fusesDecoding()) define(context, session, "decode", decode);
  return context;
}

}  // namespace lazy_native
