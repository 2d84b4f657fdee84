package dev.tributary.attribution;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.tributary.core.DType;
import dev.tributary.core.Scope;
import dev.tributary.transformer.Intervention;
import dev.tributary.transformer.Place;
import dev.tributary.transformer.Run;
import dev.tributary.transformer.Site;
import dev.tributary.transformer.file.Models;
import dev.tributary.transformer.file.Tokenizers;
import java.util.List;
import org.junit.jupiter.api.Test;

class AttentionSinkTest {
  private static Run run() {
    return Models.textbook(DType.DOUBLE)
        .run(Tokenizers.textbook().encode("When Mary and John went to the store"));
  }

  @Test
  void of_evenStream_isNone() {
    try (Scope scope = Scope.open()) {
      assertEquals(List.of(), AttentionSink.of(run()));
    }
  }

  @Test
  void of_tokenOfLongStream_isThatToken() {
    try (Scope scope = Scope.open()) {
      Place embedding = Place.of(Site.TOKEN_EMBEDDING).at(0, 4);
      List<AttentionSink> sinks = AttentionSink.of(run().with(Intervention.scale(embedding, 1e4)));
      assertEquals(1, sinks.size(), sinks.toString());
      assertEquals(4, sinks.get(0).token());
      // At the embedding, where it is most, all other tokens are as they were.
      assertTrue(sinks.get(0).times() > 1e3 && sinks.get(0).times() < 1e5, sinks.toString());
    }
  }

  @Test
  void of_oneToken_isNone() {
    try (Scope scope = Scope.open()) {
      assertEquals(
          List.of(), AttentionSink.of(Models.textbook().run(Tokenizers.textbook().encode("The"))));
    }
  }
}
