// The built-in provider that needs no network: says what demo_script.hpp writes, at a settable pace.
#pragma once

#include <memory>
#include <string>

#include "providers/provider.hpp"

namespace parley::providers {

std::unique_ptr<Provider const> make_demo_provider(std::string name);

} // namespace parley::providers
