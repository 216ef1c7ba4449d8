import com.pixelmed.validate.DicomSRValidator;
import java.lang.reflect.Field;
import javax.xml.transform.Transformer;
import javax.xml.transform.stream.StreamSource;

/** What PixelMed's validator says of each file; its own command takes one, and reads all its rules each time. */
class ValidateReports {
    public static void main(String[] files) throws Exception {
        DicomSRValidator validator = new DicomSRValidator();
        readContextGroupsOnceAReport(validator);
        for (String file : files) {
            System.out.println("next report");
            System.out.print(validator.validate(file));
        }
    }

    /** Its rules ask for the context groups at every content item, and read the file anew each time, since it has no name. */
    private static void readContextGroupsOnceAReport(DicomSRValidator validator) throws Exception {
        Field rules = DicomSRValidator.class.getDeclaredField("transformerPass1");
        rules.setAccessible(true);
        ((Transformer) rules.get(validator)).setURIResolver(
            (name, base) -> new StreamSource(DicomSRValidator.class.getResourceAsStream(name), name));
    }
}
