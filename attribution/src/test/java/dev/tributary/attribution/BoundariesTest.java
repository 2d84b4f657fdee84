package dev.tributary.attribution;

import static com.tngtech.archunit.lang.syntax.ArchRuleDefinition.noClasses;
import static com.tngtech.archunit.library.dependencies.SlicesRuleDefinition.slices;

import com.tngtech.archunit.core.importer.ImportOption;
import com.tngtech.archunit.core.importer.ImportOption.DoNotIncludeTests;
import com.tngtech.archunit.core.importer.Location;
import com.tngtech.archunit.junit.AnalyzeClasses;
import com.tngtech.archunit.junit.ArchTest;
import com.tngtech.archunit.lang.ArchRule;

/** What may know what. The benchmarks are not held to it: they measure us against the rest. */
@AnalyzeClasses(
    packages = "dev.tributary",
    importOptions = {DoNotIncludeTests.class, BoundariesTest.NoTestJars.class})
class BoundariesTest {
  /** Once packaged, the tests of a module that others use are in a jar of their own. */
  static final class NoTestJars implements ImportOption {
    @Override
    public boolean includes(Location location) {
      return !location.contains("-tests.jar");
    }
  }

  @ArchTest
  static final ArchRule ND4J_IS_KNOWN_TO_CORE_ALONE =
      noClasses()
          .that()
          .resideOutsideOfPackage("dev.tributary.core")
          .should()
          .dependOnClassesThat()
          .resideInAnyPackage("org.nd4j..", "org.bytedeco..");

  /** What runs without ND4J on the class path must not name it. */
  @ArchTest
  static final ArchRule ND4J_IS_KNOWN_TO_ITS_DEVICE_ALONE =
      noClasses()
          .that()
          .haveNameNotMatching(".*\\.Nd4j(Device|Kernels)(\\$.*)?")
          .should()
          .dependOnClassesThat()
          .resideInAPackage("org.nd4j..");

  /** To call a function that the installed CUDA lacks ends the process. */
  @ArchTest
  static final ArchRule CUDA_IS_CALLED_IN_ONE_PLACE =
      noClasses()
          .that()
          .haveNameNotMatching(".*\\.CudaCalls(\\$.*)?")
          .should()
          .dependOnClassesThat()
          .resideInAPackage("org.bytedeco.cuda..");

  @ArchTest
  static final ArchRule PACKAGES_HAVE_NO_CYCLES =
      slices().matching("dev.tributary.(**)").should().beFreeOfCycles();

  @ArchTest
  static final ArchRule THE_MODEL_KNOWS_NO_FILE_AND_NO_FAMILY =
      noClasses()
          .that()
          .resideInAPackage("dev.tributary.transformer")
          .should()
          .dependOnClassesThat()
          .resideInAnyPackage(
              "dev.tributary.transformer.file..",
              "dev.tributary.transformer.family..",
              "com.fasterxml..",
              "ai.djl..",
              "java.nio.file..");

  @ArchTest
  static final ArchRule FAMILIES_KNOW_NO_FILE =
      noClasses()
          .that()
          .resideInAPackage("dev.tributary.transformer.family")
          .should()
          .dependOnClassesThat()
          .resideInAnyPackage("dev.tributary.transformer.file..", "com.fasterxml..");

  @ArchTest
  static final ArchRule THE_FILES_ALONE_KNOW_FAMILIES =
      noClasses()
          .that()
          .resideOutsideOfPackages(
              "dev.tributary.transformer.file", "dev.tributary.transformer.family")
          .should()
          .dependOnClassesThat()
          .resideInAPackage("dev.tributary.transformer.family");

  @ArchTest
  static final ArchRule THE_LIBRARY_DOES_NOT_KNOW_ITS_COMMAND_LINE =
      noClasses()
          .that()
          .resideInAPackage("dev.tributary.attribution")
          .should()
          .dependOnClassesThat()
          .resideInAnyPackage("dev.tributary.attribution.cli..", "picocli..", "me.tongfei..");
}
