// The JavaScript object through which src/kernels.ts calls a session: one method per op.
#pragma once

#include <napi.h>

#include <memory>

#include "session.h"

namespace lazy_native {

Napi::Object makeContext(Napi::Env env, std::shared_ptr<Session> session);

}  // namespace lazy_native
