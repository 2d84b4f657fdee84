package dev.tributary.core;

import static org.junit.jupiter.api.Assertions.assertEquals;

import java.util.List;
import net.jqwik.api.lifecycle.AroundTryHook;
import net.jqwik.api.lifecycle.PropagationMode;
import net.jqwik.api.lifecycle.TryExecutionResult;
import net.jqwik.api.lifecycle.TryExecutor;
import net.jqwik.api.lifecycle.TryLifecycleContext;

/** Runs each try inside a scope of its own and checks that it leaves no other open. */
final class InScope implements AroundTryHook {
  @Override
  public PropagationMode propagateTo() {
    return PropagationMode.ALL_DESCENDANTS;
  }

  @Override
  public TryExecutionResult aroundTry(
      TryLifecycleContext context, TryExecutor executor, List<Object> parameters) {
    long live = Scope.liveTensors();
    TryExecutionResult result;
    try (Scope scope = Scope.open()) {
      result = executor.execute(parameters);
    }
    assertEquals(live, Scope.liveTensors());
    return result;
  }
}
