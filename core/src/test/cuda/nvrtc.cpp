// libnvrtc.so.13: the kernels are compiled already. It knows their text, and gives out a name for what libcuda.so.1 has.
#include "device.h"

#include <cstring>
#include <string>

// The text of the kernels with which the stand-ins were built.
asm(R"(
  .section .rodata
kernels:
  .incbin ")" KERNELS R"("
kernelsEnd:
  .byte 0
  .text
)");
extern "C" const char kernels[] __attribute__((visibility("hidden")));

namespace {

enum Result { INVALID_INPUT = 3, INVALID_OPTION = 5, COMPILATION = 6 };

struct Program {
  std::string source, log, cubin;
};

}  // namespace

EXPORTED int nvrtcVersion(int* major, int* minor) {
  *major = 13;
  *minor = 0;
  return SUCCESS;
}

EXPORTED const char* nvrtcGetErrorString(int result) {
  switch (result) {
    case SUCCESS:
      return "NVRTC_SUCCESS";
    case INVALID_OPTION:
      return "NVRTC_ERROR_INVALID_OPTION";
    case COMPILATION:
      return "NVRTC_ERROR_COMPILATION";
    default:
      return "NVRTC_ERROR unknown";
  }
}

EXPORTED int nvrtcCreateProgram(Program** program, const char* source, const char*, int headers, const char* const*,
                                const char* const*) {
  if (headers) return INVALID_INPUT;
  *program = new Program{source, "", ""};
  return SUCCESS;
}

EXPORTED int nvrtcCompileProgram(Program* program, int count, const char* const* options) {
  std::string type, architecture;
  for (int i = 0; i < count; i++) {
    std::string option = options[i];
    size_t value = option.find('=') + 1;
    if (option.rfind("-DREAL=", 0) == 0 || option.rfind("--define-macro=REAL=", 0) == 0) {
      type = option.substr(option.rfind('=') + 1);
    } else if (option.rfind("--gpu-architecture=", 0) == 0 || option.rfind("-arch=", 0) == 0) {
      architecture = option.substr(value);
    } else if (option.rfind("--fmad=", 0) != 0 && option.rfind("--std=", 0) != 0 && option.rfind("-std=", 0) != 0) {
      program->log = "the stand-in does not know the option " + option;
      return INVALID_OPTION;
    }
  }
  if (architecture != ARCHITECTURE || (type != "float" && type != "double")) {
    program->log = "the stand-in has " ARCHITECTURE ", not '" + architecture + "', and REAL float or double, not '" + type + "'";
    return INVALID_OPTION;
  }
  if (program->source != kernels) {
    program->log = "not the text with which the stand-in was built";
    return COMPILATION;
  }
  program->cubin = "\177ELF stand-in " ARCHITECTURE " " + type;
  return SUCCESS;
}

EXPORTED int nvrtcGetProgramLogSize(const Program* program, size_t* bytes) {
  *bytes = program->log.size() + 1;
  return SUCCESS;
}

EXPORTED int nvrtcGetProgramLog(const Program* program, char* log) {
  strcpy(log, program->log.c_str());
  return SUCCESS;
}

EXPORTED int nvrtcGetCUBINSize(const Program* program, size_t* bytes) {
  *bytes = program->cubin.size() + 1;
  return SUCCESS;
}

EXPORTED int nvrtcGetCUBIN(const Program* program, char* cubin) {
  memcpy(cubin, program->cubin.c_str(), program->cubin.size() + 1);
  return SUCCESS;
}

EXPORTED int nvrtcDestroyProgram(Program** program) {
  delete *program;
  *program = nullptr;
  return SUCCESS;
}
