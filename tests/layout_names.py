"""Class and folder names for `layouts.py`: real ones where the layout has them in folder or file names."""


def _words(text: str) -> list[str]:
    return text.split()


CALTECH101 = _words("""
    Faces Faces_easy Leopards Motorbikes accordion airplanes anchor ant barrel bass beaver binocular bonsai brain brontosaurus
    buddha butterfly camera cannon car_side ceiling_fan cellphone chair chandelier cougar_body cougar_face crab crayfish
    crocodile crocodile_head cup dalmatian dollar_bill dolphin dragonfly electric_guitar elephant emu euphonium ewer ferry
    flamingo flamingo_head garfield gerenuk gramophone grand_piano hawksbill headphone hedgehog helicopter ibis inline_skate
    joshua_tree kangaroo ketch lamp laptop llama lobster lotus mandolin mayfly menorah metronome minaret nautilus octopus
    okapi pagoda panda pigeon pizza platypus pyramid revolver rhino rooster saxophone schooner scissors scorpion sea_horse
    snoopy soccer_ball stapler starfish stegosaurus stop_sign strawberry sunflower tick trilobite umbrella watch water_lilly
    wheelchair wild_cat windsor_chair wrench yin_yang
""")

DTD = _words("""
    banded blotchy braided bubbly bumpy chequered cobwebbed cracked crosshatched crystalline dotted fibrous flecked freckled
    frilly gauzy grid grooved honeycombed interlaced knitted lacelike lined marbled matted meshed paisley perforated pitted
    pleated polka-dotted porous potholed scaly smeared spiralled sprinkled stained stratified striped studded swirly veined
    waffled woven wrinkled zigzagged
""")

EUROSAT = _words("""
    AnnualCrop Forest HerbaceousVegetation Highway Industrial Pasture PermanentCrop Residential River SeaLake
""")

# Those of cats have a capital letter.
PETS = _words("""
    Abyssinian american_bulldog american_pit_bull_terrier basset_hound beagle Bengal Birman Bombay boxer British_Shorthair
    chihuahua Egyptian_Mau english_cocker_spaniel english_setter german_shorthaired great_pyrenees havanese japanese_chin
    keeshond leonberger Maine_Coon miniature_pinscher newfoundland Persian pomeranian pug Ragdoll Russian_Blue saint_bernard
    samoyed scottish_terrier shiba_inu Siamese Sphynx staffordshire_bull_terrier wheaten_terrier yorkshire_terrier
""")

# Names that a careless reader would spoil.
AWKWARD = {
    "Aircraft": ["707-320", "F/A-18", "Cessna 172", "DHC-8-100", "Model B200"],
    "CIFAR100": ["aquarium_fish", "sweet_pepper", "willow_tree"],
    "Food": ["apple_pie", "baby_back_ribs", "macaroni_and_cheese"],
    "StanfordCars": ["AM General Hummer SUV 2000", "Dodge Sprinter Cargo Van 2009", "Ram C/V Cargo Van Minivan 2012"],
    "SUN397": ["abbey", "apartment_building/outdoor", "ball_pit", "balcony/exterior", "balcony/interior", "zen_garden"],
}
