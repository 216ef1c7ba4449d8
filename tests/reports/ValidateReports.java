import com.pixelmed.validate.DicomSRValidator;

/** What PixelMed's validator says of each file; its own command takes one, and reads all its rules each time. */
class ValidateReports {
    public static void main(String[] files) throws Exception {
        DicomSRValidator validator = new DicomSRValidator();
        for (String file : files) {
            System.out.println("next report");
            System.out.print(validator.validate(file));
        }
    }
}
