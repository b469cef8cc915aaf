// Whether a device can be used here, and if not, what is missing and how to get it.
#pragma once

#include "lazy_native/device.h"

namespace gpu {

lazy_native::Probe probeDevice(int index);

}  // namespace gpu
